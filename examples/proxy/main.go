// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Proxy carries TCP connections to another address:
//
//	proxy -listen 127.0.0.1:8080 -to example.com:80
//
// A side that is slow stops the other, a half-close is carried on as a half-close and a reset as a reset. What it does
// is in proxy.go. It prints the address it listens on; an interrupt or SIGTERM ends it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/quartet-go/quartet/reactor"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to accept connections on")
	to := flag.String("to", "", "`address` to carry them to, host:port")
	loops := flag.Int("loops", 0, "event loops, 0 for one per CPU")
	maxBuffered := flag.Int64("max-buffered", 0, "`bytes` that all connections together may hold, 0 for the default")
	flag.Parse()
	if *to == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "proxy: -to names the address to carry connections to, and there are no other arguments")
		os.Exit(2)
	}
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	r, err := reactor.New(reactor.Options{Loops: *loops, MaxBuffered: *maxBuffered})
	if err != nil {
		log.Fatal(err)
	}
	p := &proxy{to: *to}
	lis, err := r.Listen("tcp", *listen, p.accept, streamOptions)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", lis)
	if err := r.Serve(ctx); err != nil {
		log.Fatal(err)
	}
}
