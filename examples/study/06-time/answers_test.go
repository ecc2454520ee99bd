// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

// Exercise 1: settimeout by hand. poll may be interrupted, so what counts is the moment, not the duration.
func recvBefore(fd int, deadline time.Time, p []byte) (int, error) {
	for {
		left := max(time.Until(deadline), 0)
		ms := (left + time.Millisecond - 1) / time.Millisecond // rounded up: never early
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(ms))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, unix.ETIMEDOUT
		default:
			n, _, err := unix.Recvfrom(fd, p, 0)
			return n, err
		}
	}
}

func Example_poll() {
	a, b := study.Pair()
	defer unix.Close(a)
	defer unix.Close(b)
	begin := time.Now()
	_, err := recvBefore(b, begin.Add(50*time.Millisecond), make([]byte, 8))
	fmt.Println(err, time.Since(begin) >= 50*time.Millisecond)

	study.Check(study.SendAll(a, []byte("hello")))
	fmt.Println(recvBefore(b, time.Now().Add(time.Minute), make([]byte, 8)))
	// Output:
	// connection timed out true
	// 5 <nil>
}

// Exercise 2: a timer of the connection calls on its loop, so it writes like any handler; it ends with the connection.
func Example_heartbeat() {
	server := study.React(func(c *reactor.Conn) (reactor.Handler, error) {
		beats := 0
		var timer *reactor.Timer
		timer = c.AfterFunc(0, func(c *reactor.Conn) {
			if beats++; beats > 3 {
				c.Close()
				return
			}
			c.Write(fmt.Appendf(nil, "beat %d\n", beats))
			timer.Reset(10 * time.Millisecond)
		})
		return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return len(in), nil }), nil
	}, nil)
	defer server.Stop()
	c := study.Dial(server.Addr)
	defer c.Close()
	var heard string
	for answer := study.Answer(c); answer != "the end"; answer = study.Answer(c) {
		heard += answer
	}
	fmt.Print(heard)
	// Output:
	// beat 1
	// beat 2
	// beat 3
}

// Exercise 3: an idle time-out says nothing of those who connect and never speak, if it is long; FirstByteTimeout is a
// shorter one for the beginning.
func Example_firstByte() {
	server := serveLines(&reactor.StreamOptions{IdleTimeout: time.Hour, FirstByteTimeout: timeout})
	defer server.Stop()
	fmt.Println(silent(server.Addr))
	// Output: closed, not early
}
