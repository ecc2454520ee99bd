// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"io"
	"net"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

// count counts the bytes of a request, which ends where the client's half does; refuse looks at ten bytes, replies and
// closes.
var servers = map[string]struct{ count, refuse func() *study.Server }{
	study.ALoop:      {countLoop, refuseLoop},
	study.Goroutines: {countGo, refuseGo},
	study.TheReactor: {countReact, refuseReact},
}

func countLoop() *study.Server {
	return study.Loop(func(c int) {
		bytes := 0
		for s := study.Recv(c, 4); s != ""; s = study.Recv(c, 4) { // until recv returns 0
			bytes += len(s)
		}
		study.Check(study.SendAll(c, fmt.Appendf(nil, "%d bytes", bytes)))
	})
}

func countGo() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		bytes, err := io.Copy(io.Discard, c)
		study.Check(err)
		fmt.Fprintf(c, "%d bytes", bytes)
	})
}

type counter struct {
	reactor.Base
	bytes int
}

func (h *counter) Data(_ *reactor.Conn, in []byte) (int, error) {
	h.bytes += len(in)
	return len(in), nil
}

func (h *counter) EOF(c *reactor.Conn, _ []byte) error {
	c.Write(fmt.Appendf(nil, "%d bytes", h.bytes))
	return io.EOF // sends it, then closes
}

func countReact() *study.Server {
	return study.React(func(*reactor.Conn) (reactor.Handler, error) { return &counter{}, nil }, nil)
}

func refuseLoop() *study.Server {
	return study.Loop(func(c int) {
		study.Arrived(c, 100)
		study.Recv(c, 10)
		study.Check(study.SendAll(c, make([]byte, reply)))
	}) // and closes, with 90 bytes unread
}

func refuseGo() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		_, err := io.ReadFull(c, make([]byte, 10))
		study.Check(err)
		_, err = c.Write(make([]byte, reply))
		study.Check(err)
	})
}

func refuseReact() *study.Server {
	refuse := reactor.DataFunc(func(c *reactor.Conn, _ []byte) (int, error) {
		c.Write(make([]byte, reply))
		return 10, c.Close()
	})
	return study.React(func(c *reactor.Conn) (reactor.Handler, error) {
		c.Need(10)
		return refuse, nil
	}, nil)
}
