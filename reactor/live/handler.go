// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package live

import (
	"embed"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

//go:embed page
var files embed.FS

// writeTimeout is how long a viewer may take none of a message before it is given up.
const writeTimeout = 10 * time.Second

// policy lets the page load and ask what comes with it, and nothing frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page of r at "/" and what it watches at "/events", as server-sent events (the form is
// that of message.go). It answers GET and HEAD alone. At most MaxViewers watch at a time; the next is answered 503, as are
// all once r has ended.
//
// Served on a loopback address it refuses to be asked by a name other than localhost, so that no page of somebody else's
// can read it by having its own name resolve to this machine.
func Handler(r *reactor.Reactor) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // of a name that is no path
	}
	f := &feed{reactor: r, viewers: map[*viewer]bool{}}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(page))
	mux.HandleFunc("/events", f.serve)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case q.Method != http.MethodGet && q.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, fmt.Sprintf("method %s, want GET or HEAD: this page only shows", q.Method), http.StatusMethodNotAllowed)
		case foreign(q):
			http.Error(w, fmt.Sprintf("host %q, want localhost or an address", q.Host), http.StatusMisdirectedRequest)
		default:
			mux.ServeHTTP(w, q)
		}
	})
}

// foreign says whether a request that came over loopback was meant for a name that is not this machine's own.
func foreign(q *http.Request) bool {
	local, ok := q.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	host := q.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return false
	}
	return !strings.EqualFold(host, "localhost")
}

// serve has one viewer watch.
func (f *feed) serve(w http.ResponseWriter, q *http.Request) {
	v, start, err := f.join()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer f.leave(v)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	send := func(event string, data []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // or a server that is no net/http has bounds of its own
		_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
		return err == nil && control.Flush() == nil
	}
	if q.Method == http.MethodHead || !send("hello", f.hello(start)) {
		return
	}
	for {
		select {
		case <-q.Context().Done():
			return
		case message := <-v.messages:
			if missed := v.missed.Swap(0); missed > 0 && !send("missed", fmt.Append(nil, missed)) {
				return
			}
			if !send("message", message) {
				return
			}
		}
	}
}
