// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

// quiet closes a connection on which nothing comes for timeout, whole one whose line does not end within it.
var servers = map[string]struct{ quiet, whole func() *study.Server }{
	study.ALoop:      {quiet: loop},
	study.Goroutines: {quiet: goroutines, whole: wholeGo},
	study.TheReactor: {quiet: react, whole: wholeReact},
}

// lines answer each line with itself.
var lines = codec.Line(1024)

func loop() *study.Server {
	return study.Loop(func(c int) {
		study.Timeout(c, timeout) // settimeout, for each recv
		for {
			n, err := study.TryRecv(c, make([]byte, 64))
			if errors.Is(err, unix.EAGAIN) || n <= 0 {
				return
			}
			study.Check(err)
		}
	})
}

func goroutines() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		for {
			study.Check(c.SetReadDeadline(time.Now().Add(timeout))) // a moment: for the next Read
			if _, err := c.Read(make([]byte, 64)); err != nil {
				return
			}
		}
	})
}

func wholeGo() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		in := codec.NewReader(c, lines)
		for {
			study.Check(c.SetReadDeadline(time.Now().Add(timeout))) // for all Reads until the line is whole
			line, err := in.ReadFrame()
			if err != nil {
				return
			}
			_, err = c.Write(append(line, '\n'))
			study.Check(err)
		}
	})
}

func react() *study.Server {
	return serveLines(&reactor.StreamOptions{IdleTimeout: timeout})
}

func wholeReact() *study.Server {
	return serveLines(&reactor.StreamOptions{FrameTimeout: timeout})
}

func serveLines(o *reactor.StreamOptions) *study.Server {
	answer := reactor.Frames(lines, reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
		return c.Send(lines, line)
	}))
	return study.React(func(*reactor.Conn) (reactor.Handler, error) { return answer, nil }, o)
}
