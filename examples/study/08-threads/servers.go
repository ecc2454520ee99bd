// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"net"
	"sync"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

type server struct {
	*study.Server
	hits func() int        // to be called when it has stopped
	tell func(news string) // to all clients, from any goroutine
}

var servers = map[string]func() server{
	study.ALoop:      loop,
	study.Goroutines: goroutines,
	study.TheReactor: react,
}

var lines = codec.Line(64)

func loop() server {
	total := 0 // one thread: nobody to share it with
	return server{study.Loop(func(c int) {
		for line := study.Recv(c, 64); line != ""; line = study.Recv(c, 64) { // the clients send one line and wait
			total++
			study.Check(study.SendAll(c, []byte("counted\n")))
		}
	}), func() int { return total }, nil}
}

func goroutines() server {
	var mu sync.Mutex
	total := 0
	conns := make(map[net.Conn]bool)
	return server{study.Go(func(c *net.TCPConn) {
		mu.Lock()
		conns[c] = true
		mu.Unlock()
		for _, err := range codec.NewReader(c, lines).Frames() {
			study.Check(err)
			mu.Lock()
			total++
			mu.Unlock()
			study.Must(c.Write([]byte("counted\n")))
		}
		mu.Lock()
		delete(conns, c)
		mu.Unlock()
	}), func() int { return total }, func(news string) {
		mu.Lock()
		defer mu.Unlock()
		for c := range conns {
			study.Must(c.Write([]byte(news))) // may block, and all with it that want the mutex
		}
	}}
}

func react() server {
	total := 0 // one loop: nobody to share it with
	count := reactor.Frames(lines, reactor.FrameFunc(func(c *reactor.Conn, _ []byte) error {
		total++
		return c.Send(lines, []byte("counted"))
	}))
	refs := make(chan reactor.Ref, clients)
	s := study.React(func(c *reactor.Conn) (reactor.Handler, error) {
		refs <- c.Ref() // not c: a Conn never leaves its loop
		return count, nil
	}, nil)
	return server{s, func() int { return total }, func(news string) {
		for range len(refs) {
			ref := <-refs
			study.Must(ref.Write([]byte(news))) // queued for ref's loop; never blocks
		}
	}}
}
