// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// A client on the loops: it is told once how the dial ended, and handles its connection like any other.
func ExampleReactor_Dial() {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := lis.Accept()
		if err != nil {
			return
		}
		io.WriteString(conn, "220 ready\r\n")
		conn.Close()
		lis.Close()
	}()

	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	done := make(chan struct{})
	connected := func(c *reactor.Conn, err error) (reactor.Handler, error) {
		if err != nil {
			log.Print(err) // *net.OpError: refused, timed out, no such host and so on
			close(done)
			return nil, err
		}
		return reactor.Frames(codec.Line(512), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
			fmt.Printf("%s\n", line)
			close(done)
			return c.Close()
		})), nil
	}
	if err := r.Dial(context.Background(), "tcp", lis.Addr().String(), connected, nil); err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())
	<-done
	// Output: 220 ready
}

// A server that asks another before it answers: Conn.Dial puts the second connection on the loop of the first, which
// waits unread meanwhile.
func ExampleConn_Dial() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	discard := reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return len(in), nil })
	clock, err := r.Listen("tcp", "127.0.0.1:0", func(c *reactor.Conn) (reactor.Handler, error) {
		_, err := c.Write([]byte("noon\n"))
		return discard, err
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	front, err := r.Listen("tcp", "127.0.0.1:0", func(c *reactor.Conn) (reactor.Handler, error) {
		c.Pause()
		return discard, c.Dial(context.Background(), "tcp", clock.Addr().String(), func(_ *reactor.Conn, err error) (reactor.Handler, error) {
			if err != nil {
				c.Close()
				return nil, err
			}
			return reactor.Frames(codec.Line(80), reactor.FrameFunc(func(asked *reactor.Conn, line []byte) error {
				fmt.Fprintf(c, "I am told it is %s", line)
				c.Close()
				return asked.Close()
			})), nil
		}, nil)
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	conn, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", answer)
	// Output: I am told it is noon
}

// What package net accepted goes on in the reactor.
func ExampleReactor_Adopt() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	go r.Serve(context.Background())

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer lis.Close()
	client, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	conn, err := lis.Accept()
	if err != nil {
		log.Fatal(err)
	}
	err = r.Adopt(conn, func(c *reactor.Conn, err error) (reactor.Handler, error) {
		if err != nil {
			return nil, err
		}
		_, err = c.Write([]byte("you are on a loop now\n"))
		return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) { return len(in), nil }), err
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	greeting := make([]byte, len("you are on a loop now\n"))
	io.ReadFull(client, greeting)
	fmt.Printf("%s", greeting)
	// Output: you are on a loop now
}
