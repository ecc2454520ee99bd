// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Quickstart is an echo server that an interrupt stops: the program at the top of the README.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/quartet-go/quartet/reactor"
)

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt)
	r, err := reactor.New(reactor.Options{}) // one loop per CPU, sane limits
	if err != nil {
		log.Fatal(err)
	}
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(in) // gathered; leaves in one system call when this function returns
		return len(in), err   // everything was consumed
	})
	if _, err := r.Listen("tcp", "127.0.0.1:1060", func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, nil); err != nil {
		log.Fatal(err)
	}
	log.Println("served:", r.Serve(ctx)) // until ctx is done, then drains
}
