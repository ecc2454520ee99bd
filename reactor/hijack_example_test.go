// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/quartet-go/quartet/reactor"
)

// A loop serves thousands of connections that wait; one that has more to do than a loop should goes on as an ordinary
// net.Conn, on a goroutine of its own.
func ExampleConn_Hijack() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	upgrade := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		request, _, whole := bytes.Cut(in, []byte("\n"))
		if !whole {
			return 0, nil
		}
		fmt.Fprintf(c, "from the loop: %s\n", request)
		conn, rest, err := c.Hijack() // sends what was written
		if err != nil {
			return 0, err
		}
		rest = rest[len(request)+1:] // all of in, of which this much was dealt with
		go func() {
			defer conn.Close()
			more, _ := io.ReadAll(conn)
			fmt.Fprintf(conn, "from a goroutine: %s%s\n", rest, more)
		}()
		return len(in), nil
	})
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return upgrade, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "upgrade\nthe rest of it")
	conn.(*net.TCPConn).CloseWrite()
	answers, _ := io.ReadAll(conn)
	fmt.Printf("%s", answers)
	// Output:
	// from the loop: upgrade
	// from a goroutine: the rest of it
}
