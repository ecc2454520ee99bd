// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

// sendAll is sendall for a socket that does not block: it waits in poll.
func sendAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EAGAIN):
			writable(fd, -1)
		case err != nil:
			return err
		default:
			p = p[n:]
		}
	}
	return nil
}

// Exercise 1: send what the socket takes, and wait for room with the rest in hand.
func Example_sendall() {
	a, b := study.Pair()
	defer unix.Close(b)
	study.Check(unix.SetNonblock(a, true))
	go func() {
		study.Check(sendAll(a, make([]byte, download)))
		unix.Close(a)
	}()
	received := 0
	for s := study.Recv(b, 1<<20); s != ""; s = study.Recv(b, 1<<20) {
		received += len(s)
	}
	fmt.Println(received == download)
	// Output: true
}

// Exercise 2: two that send before they receive wait for each other for ever. Here a deadline ends it.
func Example_deadlock() {
	server := study.Go(func(c *net.TCPConn) {
		for {
			if _, err := c.Write(chunk); err != nil { // never reads
				return
			}
		}
	})
	defer server.Stop()
	c := study.Dial(server.Addr)
	defer c.Close()
	study.Check(c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)))
	n, err := c.Write(make([]byte, download)) // nor does this
	fmt.Println(n < download, errors.Is(err, os.ErrDeadlineExceeded))
	// Output: true true
}

// Exercise 3: without the question c.Blocked, output grows until Write refuses. The limit is the last resort; the
// question is what keeps memory small.
func Example_overflow() {
	refused := make(chan error, 1)
	server := study.React(func(c *reactor.Conn) (reactor.Handler, error) {
		return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			for {
				if _, err := c.Write(chunk); err != nil {
					refused <- err
					fmt.Println("at most a chunk above the limit:", c.Unsent() <= 1<<20+len(chunk))
					c.Abort()
					return len(in), nil
				}
			}
		}), nil
	}, &reactor.StreamOptions{MaxOutput: 1 << 20})
	defer server.Stop()
	c := ask(server.Addr, download)
	defer c.Close()
	err := <-refused
	fmt.Println(err, errors.Is(err, reactor.ErrOverflow))
	// Unordered output:
	// at most a chunk above the limit: true
	// reactor: output limit reached true
}
