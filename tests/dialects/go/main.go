// Reads URLs from its input, one on a line, and prints for each what net/http does with it under this process's
// environment: the proxy's URL, "direct", or "error".
//
// net/http reads the environment once in a process, so there is one process for each environment.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		fmt.Fprintln(out, answer(in.Text()))
	}
}

func answer(target string) string {
	request, err := http.NewRequest(http.MethodGet, target, nil)
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
		return written(proxy)
	}
}

// The port that net/http's transport takes.
func written(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	return strings.ToLower(proxy.Scheme + "://" + net.JoinHostPort(proxy.Hostname(), port))
}
