// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// A listener that expects trouble. What is beyond its limits is held off before any handler hears of it, and counted.
func ExampleListener_Stats() {
	r, err := reactor.New(reactor.Options{Loops: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(in)
		return len(in), err
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, &reactor.StreamOptions{
		MaxPerPeer:  2,                // more are reset
		AcceptRate:  1000,             // more wait in the backlog
		IdleTimeout: 10 * time.Minute, // for peers that are gone without a word
	})
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	for range 3 {
		answer := 0
		if conn, err := net.Dial("tcp", lis.Addr().String()); err == nil { // the reset may come first
			defer conn.Close()
			fmt.Fprint(conn, "hello")
			answer, _ = io.ReadFull(conn, make([]byte, 5))
		}
		fmt.Println(answer, "bytes came back")
	}
	fmt.Println("refused:", lis.Stats().PeerLimited)
	// Output:
	// 5 bytes came back
	// 5 bytes came back
	// 0 bytes came back
	// refused: 1
}
