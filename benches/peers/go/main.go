// Times http.ProxyFromEnvironment, which is what every Go program decides with.
//
// The first line of its input is the list. Each further one is "COUNT URL": it decides so often on one prebuilt request
// and prints the nanoseconds that took, the allocations, and the last answer ("direct", "proxy" or "error").
//
// net/http reads the environment once in a process, so there is one process for each list.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"time"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	list, err := in.ReadString('\n')
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "all_proxy", "REQUEST_METHOD"} {
		os.Unsetenv(name)
	}
	os.Setenv("HTTP_PROXY", "http://user:password@proxy.example:3128")
	os.Setenv("NO_PROXY", list[:len(list)-1])

	for {
		var count int
		var target string
		if _, err := fmt.Fscanln(in, &count, &target); err != nil {
			return
		}
		request, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			panic(err)
		}
		// The first decision reads the environment.
		proxy, err := http.ProxyFromEnvironment(request)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		for range count {
			proxy, err = http.ProxyFromEnvironment(request)
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		fmt.Println(took.Nanoseconds(), after.Mallocs-before.Mallocs, answer(proxy, err))
	}
}

func answer(proxy *url.URL, err error) string {
	switch {
	case err != nil:
		return "error"
	case proxy == nil:
		return "direct"
	default:
		return "proxy"
	}
}
