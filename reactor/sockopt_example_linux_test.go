// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// A listener for clients that speak first, over a network that loses some of them: its connections inherit the options of
// their sockets.
func ExampleStreamOptions() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(in)
		return len(in), err
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, &reactor.StreamOptions{
		DeferAccept:       5 * time.Second,  // accepted when they have spoken
		FastOpen:          100,              // or with their first packet
		KeepAliveIdle:     time.Minute,      // asked whether they are there after so much silence,
		KeepAliveInterval: 10 * time.Second, // and again,
		UserTimeout:       90 * time.Second, // and given up
		RecvBuffer:        1 << 20,
		SendBuffer:        1 << 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn := exampleDial(lis.Addr().String())
	defer conn.Close()
	fmt.Fprint(conn, "hello")
	answer := make([]byte, len("hello"))
	io.ReadFull(conn, answer)
	fmt.Printf("%s\n", answer)
	// Output:
	// hello
}
