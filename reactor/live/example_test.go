// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package live_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/live"
)

// A page beside the service, below a path of its own.
func ExampleHandler() {
	r, err := reactor.New(reactor.Options{Measure: true}) // so that the page can say how busy the loops are
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Serve(ctx) }()

	mux := http.NewServeMux()
	mux.Handle("/live/", http.StripPrefix("/live", live.Handler(r)))
	web := httptest.NewServer(mux) // or http.Server, on 127.0.0.1
	answer, err := http.Get(web.URL + "/live/")
	if err != nil {
		log.Fatal(err)
	}
	page, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	fmt.Println(answer.Status, strings.Contains(string(page), "<title>Quartet, live</title>"))

	http.DefaultClient.CloseIdleConnections()
	web.Close()
	stop()
	fmt.Println(<-ended)
	// Output:
	// 200 OK true
	// <nil>
}
