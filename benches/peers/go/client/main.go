// Go's net/http as one of the clients of src/bin/client: does the jobs that it reads from its input and prints what they
// took, in nanoseconds, nanoseconds of processor time, and allocations. See run.rs there for a job's fields.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type job struct {
	proxy, scheme                                     string
	port, hosts, requests, concurrency, repeats, warm int
	bytes                                             int64
	targets                                           []string
}

type took struct {
	nanos, cpu int64
	mallocs    uint64
}

func main() {
	pem, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	in := bufio.NewReader(os.Stdin)
	for {
		var j job
		_, err := fmt.Fscanln(in, &j.proxy, &j.scheme, &j.port, &j.hosts, &j.requests, &j.concurrency, &j.repeats, &j.warm, &j.bytes)
		if err != nil {
			return
		}
		for n := range j.hosts {
			host := "127.0.0.1"
			if j.proxy != "-" {
				host = fmt.Sprintf("h%d.bench.test", n)
			}
			j.targets = append(j.targets, fmt.Sprintf("%s://%s:%d/bytes/%d", j.scheme, host, j.port, j.bytes))
		}
		sum, err := j.measure(roots)
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Println(sum.nanos, sum.cpu, sum.mallocs)
	}
}

func (j *job) measure(roots *x509.CertPool) (sum took, err error) {
	for range j.repeats {
		transport := &http.Transport{
			TLSClientConfig:    &tls.Config{RootCAs: roots},
			DisableCompression: true,
			// Two by default, which would close most connections after each request.
			MaxIdleConnsPerHost: 1000,
		}
		if j.proxy != "-" {
			proxy, err := url.Parse(j.proxy)
			if err != nil {
				return sum, err
			}
			transport.Proxy = http.ProxyURL(proxy)
		}
		client := &http.Client{Transport: transport}
		if err := j.drive(client, j.warm); err != nil {
			return sum, err
		}
		before := mallocs()
		cpu, start := processorTime(), time.Now()
		if err := j.drive(client, j.requests); err != nil {
			return sum, err
		}
		sum.nanos += time.Since(start).Nanoseconds()
		sum.cpu += processorTime() - cpu
		sum.mallocs += mallocs() - before
		transport.CloseIdleConnections()
		time.Sleep(5 * time.Millisecond)
	}
	return sum, nil
}

func mallocs() uint64 {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.Mallocs
}

func processorTime() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// drive makes so many requests, and so many of them at a time.
func (j *job) drive(client *http.Client, requests int) error {
	if j.concurrency == 1 {
		for n := range requests {
			if err := j.fetch(client, n); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var group sync.WaitGroup
	failed := make([]error, j.concurrency)
	for worker := range j.concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			for failed[worker] == nil {
				n := int(next.Add(1)) - 1
				if n >= requests {
					return
				}
				failed[worker] = j.fetch(client, n)
			}
		}()
	}
	group.Wait()
	return errors.Join(failed...)
}

func (j *job) fetch(client *http.Client, n int) error {
	response, err := client.Get(j.targets[n%len(j.targets)])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	length, err := io.Copy(io.Discard, response.Body)
	if err == nil && length != j.bytes {
		err = fmt.Errorf("%s: %d bytes", response.Status, length)
	}
	return err
}
