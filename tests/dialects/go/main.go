// Reads URLs from its input, one on a line, and prints for each what net/http does with it under this process's
// environment: the proxy's URL, "direct", or "error".
//
// net/http reads the environment once in a process, so there is one process for each environment.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		fmt.Fprintln(out, answer(in.Text()))
	}
}

func answer(url string) string {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "error"
	}
	proxy, err := http.ProxyFromEnvironment(request)
	switch {
	case err != nil:
		return "error"
	case proxy == nil:
		return "direct"
	default:
		return proxy.String()
	}
}
