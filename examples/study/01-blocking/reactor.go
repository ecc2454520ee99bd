// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

func react(int) (addr string, wait func()) {
	r, err := reactor.New(reactor.Options{Loops: 1}) // one goroutine for all clients
	study.Check(err)

	greet := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) { // called when bytes are there
		c.Write(greeting(in))
		return len(in), c.Close()
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return greet, nil }, nil)
	study.Check(err)

	served := make(chan error, 1)
	go func() { served <- r.Serve(context.Background()) }()
	return lis.Addr().String(), func() {
		study.Check(r.Shutdown(context.Background())) // until all clients are gone
		study.Check(<-served)
	}
}
