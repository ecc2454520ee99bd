// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"fmt"
	"net"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

var servers = map[string]func() *study.Server{
	study.ALoop:      loop,
	study.Goroutines: goroutines,
	study.TheReactor: react,
}

// chunk is what is written at a time.
var chunk = bytes.Repeat([]byte("x"), 64<<10)

func asked(request string) (n int) {
	_, err := fmt.Sscan(request, &n)
	study.Check(err)
	return n
}

func loop() *study.Server {
	return study.Loop(func(c int) {
		for left := asked(study.Recv(c, 64)); left > 0; {
			n := min(left, len(chunk))
			study.Check(study.SendAll(c, chunk[:n])) // blocks while the client does not read
			left -= n
		}
	})
}

func goroutines() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		request, err := codec.NewReader(c, codec.Line(64)).ReadFrame()
		study.Check(err)
		for left := asked(string(request)); left > 0; {
			n, err := c.Write(chunk[:min(left, len(chunk))]) // blocks this goroutine
			study.Check(err)
			left -= n
		}
	})
}

// A sender is the state that the other two have in their variables while they block.
type sender struct {
	reactor.FrameBase
	left int
}

func (s *sender) Frame(c *reactor.Conn, request []byte) error {
	s.left = asked(string(request))
	s.send(c)
	return nil
}

func (s *sender) Writable(c *reactor.Conn) { s.send(c) }

func (s *sender) send(c *reactor.Conn) {
	for s.left > 0 && !c.Blocked() {
		n := min(s.left, len(chunk))
		c.Write(chunk[:n]) // does not block: what the socket does not take is kept
		s.left -= n
	}
	if s.left == 0 {
		c.Close() // when all is sent
	}
}

func react() *study.Server {
	return study.React(func(*reactor.Conn) (reactor.Handler, error) {
		return reactor.Frames(codec.Line(64), &sender{}), nil
	}, nil)
}
