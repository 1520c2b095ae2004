// Go's net/http as one of the clients of src/bin/tunnels: does the jobs that it reads from its input and prints the
// answers. See job.rs there for a job's fields.
//
// net/http has tunnels for https alone. For the others a dialler opens the tunnel, as grpc-go's does (proxyDial in
// internal/transport/proxy.go).
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type job struct {
	verb, proxy, inside                     string
	port, hosts, warm, concurrency, repeats int
	bytes                                   int64
	roots                                   *x509.CertPool
}

// The connections that a job leaves open.
var kept []any

func main() {
	pem, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	in := bufio.NewReader(os.Stdin)
	for {
		j := job{roots: roots}
		_, err := fmt.Fscanln(in, &j.verb, &j.proxy, &j.inside, &j.port, &j.hosts, &j.warm, &j.concurrency, &j.repeats, &j.bytes)
		if err != nil {
			return
		}
		answer, err := j.answer()
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Println(answer)
	}
}

func (j *job) answer() (string, error) {
	switch j.verb {
	case "trips":
		return j.trips()
	case "idle":
		return j.idle()
	default:
		return j.measure()
	}
}

func (j *job) measure() (string, error) {
	var nanos, cpu int64
	for range j.repeats {
		c := j.newClient()
		if err := c.drive(0, j.warm, 1); err != nil {
			return "", err
		}
		cpuBefore, start := processorTime(), time.Now()
		if err := c.drive(j.warm, j.hosts, j.concurrency); err != nil {
			return "", err
		}
		nanos += time.Since(start).Nanoseconds()
		cpu += processorTime() - cpuBefore
		c.close()
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Sprint(nanos, cpu), nil
}

func (j *job) trips() (string, error) {
	c := j.newClient()
	defer c.close()
	var times []any
	for n := range j.hosts {
		start := time.Now()
		first, err := c.fetch(n)
		if err != nil {
			return "", err
		}
		times = append(times, first.Sub(start).Nanoseconds())
	}
	return fmt.Sprint(times...), nil
}

func (j *job) idle() (string, error) {
	c := j.newClient()
	if err := c.drive(0, j.warm, 1); err != nil {
		return "", err
	}
	before := live()
	if err := c.drive(j.warm, j.hosts, 1); err != nil {
		return "", err
	}
	grown := live() - before
	kept = append(kept, c)
	return fmt.Sprint(grown), nil
}

// live returns the bytes of the heap that are in use, and of the stacks.
func live() int64 {
	time.Sleep(300 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc + memory.StackInuse)
}

func processorTime() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

type client struct {
	*job
	http      *http.Client
	transport *http.Transport
	mutex     sync.Mutex
	tunnels   []net.Conn
}

func (j *job) newClient() *client {
	transport := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: j.roots},
		DisableCompression: true,
		// Two by default, which would close most connections after each request.
		MaxIdleConnsPerHost: 1000,
	}
	c := &client{job: j, transport: transport, http: &http.Client{Transport: transport}}
	switch {
	case j.proxy == "-":
	case j.inside == "http":
		transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
			return c.tunnel(ctx, address)
		}
	default:
		proxy, err := url.Parse(j.proxy)
		if err != nil {
			panic(err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	return c
}

func (c *client) close() {
	c.transport.CloseIdleConnections()
	for _, tunnel := range c.tunnels {
		tunnel.Close()
	}
}

// tunnel opens a tunnel by hand.
func (c *client) tunnel(ctx context.Context, address string) (net.Conn, error) {
	proxy, err := url.Parse(c.proxy)
	if err != nil {
		return nil, err
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: c.roots}}
	conn, err := dialer.DialContext(ctx, "tcp", proxy.Host)
	if err != nil {
		return nil, err
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address}, Host: address, Header: http.Header{}}
	if proxy.User != nil {
		credentials := base64.StdEncoding.EncodeToString([]byte(proxy.User.String()))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := request.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err == nil && response.StatusCode != 200 {
		err = errors.New(response.Status)
	}
	if err == nil && reader.Buffered() > 0 {
		err = errors.New("bytes behind the response")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// drive asks these hosts, so many of them at a time.
func (c *client) drive(from, to, concurrency int) error {
	if concurrency == 1 {
		for n := from; n < to; n++ {
			if _, err := c.fetch(n); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var group sync.WaitGroup
	failed := make([]error, concurrency)
	for worker := range concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			for failed[worker] == nil {
				n := from + int(next.Add(1)) - 1
				if n >= to {
					return
				}
				_, failed[worker] = c.fetch(n)
			}
		}()
	}
	group.Wait()
	return errors.Join(failed...)
}

// fetch does the job for one host, and returns the time of the first byte of the content.
func (c *client) fetch(n int) (first time.Time, err error) {
	host := fmt.Sprintf("h%d.bench.test", n)
	address := host
	if c.proxy == "-" {
		host, address = "127.0.0.1", "127.0.0.1"
	}
	address = fmt.Sprintf("%s:%d", address, c.port)
	if c.inside == "raw" {
		return first, c.raw(host, address)
	}
	scheme := "http"
	if c.inside == "https" {
		scheme = "https"
	}
	expected := newContent(host, c.bytes)
	var response *http.Response
	if c.verb == "put" {
		var request *http.Request
		request, err = http.NewRequest(http.MethodPost, scheme+"://"+address+"/take", expected)
		if err != nil {
			return first, err
		}
		request.ContentLength = c.bytes
		response, err = c.http.Do(request)
		expected = newContent("taken", 6)
	} else {
		response, err = c.http.Get(fmt.Sprintf("%s://%s/bytes/%d", scheme, address, c.bytes))
	}
	if err != nil {
		return first, err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		return first, errors.New(response.Status)
	}
	buffer := buffers.Get().([]byte)
	defer buffers.Put(buffer)
	for {
		length, err := response.Body.Read(buffer)
		if length > 0 && first.IsZero() {
			first = time.Now()
		}
		if err := expected.expect(buffer[:length]); err != nil {
			return first, err
		}
		if err == io.EOF {
			return first, expected.end()
		}
		if err != nil {
			return first, err
		}
	}
}

// raw sends a line in a new tunnel and receives the host's name.
func (c *client) raw(host, address string) error {
	tunnel, err := c.tunnel(context.Background(), address)
	if err != nil {
		return err
	}
	c.mutex.Lock()
	c.tunnels = append(c.tunnels, tunnel)
	c.mutex.Unlock()
	if _, err := io.WriteString(tunnel, "name\n"); err != nil {
		return err
	}
	received := make([]byte, len(host)+1)
	if _, err := io.ReadFull(tunnel, received); err != nil {
		return err
	}
	if string(received) != host+"\n" {
		return fmt.Errorf("expected %q, found %q", host, received)
	}
	return nil
}

const piece = 64 << 10

var buffers = sync.Pool{New: func() any { return make([]byte, piece) }}

// content is a host's: its name and a line feed, over and over.
type content struct {
	block      []byte
	period     int
	length, at int64
}

func newContent(host string, length int64) *content {
	line := host + "\n"
	most := int(min(length, piece))
	return &content{block: []byte(strings.Repeat(line, most/len(line)+2)), period: len(line), length: length}
}

func (c *content) take(most int) []byte {
	length := int(min(c.length-c.at, int64(most), piece))
	start := int(c.at % int64(c.period))
	c.at += int64(length)
	return c.block[start : start+length]
}

// Read makes it the body of a request.
func (c *content) Read(buffer []byte) (int, error) {
	if c.at == c.length {
		return 0, io.EOF
	}
	return copy(buffer, c.take(len(buffer))), nil
}

func (c *content) expect(received []byte) error {
	for len(received) > 0 {
		next := c.take(len(received))
		if len(next) == 0 || !bytes.Equal(received[:len(next)], next) {
			return fmt.Errorf("other content than expected before byte %d", c.at)
		}
		received = received[len(next):]
	}
	return nil
}

func (c *content) end() error {
	if c.at != c.length {
		return fmt.Errorf("%d bytes are missing", c.length-c.at)
	}
	return nil
}
