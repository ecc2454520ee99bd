// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"os"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
)

// nbioMaxWrite is the bound on unsent output that nbio's README sets; a connection that exceeds it is closed. nbio's
// own default is none.
const nbioMaxWrite = 6 << 20

// serveNbio is nbio as its README starts it, without the README's copy of the data: Write keeps none of it.
func serveNbio(c config, listening func()) error {
	if c.network == "udp" && c.service != "echo" {
		return noService(c)
	}
	logging.Output = os.Stderr
	logging.SetLevel(logging.LevelError)
	engine := nbio.NewEngine(nbio.Config{
		Network:            c.network,
		Addrs:              []string{c.address},
		NPoller:            c.loops,
		MaxWriteBufferSize: nbioMaxWrite,
	})
	switch c.service {
	case "echo":
		engine.OnData(func(c *nbio.Conn, data []byte) { c.Write(data) })
	case "frames", "fixed":
		next := cutterOf(c)
		engine.OnOpen(func(c *nbio.Conn) { c.SetSession(new(nbioSession)) })
		engine.OnData(func(c *nbio.Conn, data []byte) {
			s := c.Session().(*nbioSession)
			s.out = s.out[:0]
			err := s.each(next, data, func(message []byte) { s.out = append(s.out, message...) })
			c.Write(s.out)
			if err != nil {
				c.CloseWithError(err)
			}
		})
	case "push":
		pushers := newHandoff(func(to *nbio.Conn, buf *[]byte, free func(*[]byte)) {
			to.Write(*buf)
			free(buf)
		})
		engine.OnData(func(c *nbio.Conn, data []byte) { pushers.give(uint64(c.Hash()), c, data) })
	case "broadcast":
		members := newRoom[*nbio.Conn]()
		engine.OnOpen(func(c *nbio.Conn) {
			c.SetSession(new(nbioSession))
			members.join(c)
		})
		engine.OnClose(func(c *nbio.Conn, _ error) { members.leave(c) })
		engine.OnData(func(c *nbio.Conn, data []byte) {
			err := c.Session().(*nbioSession).each(prefixed, data, func(message []byte) {
				members.each(func(member *nbio.Conn) { member.Write(message) })
			})
			if err != nil {
				c.CloseWithError(err)
			}
		})
	default:
		return noService(c)
	}
	if err := engine.Start(); err != nil {
		return err
	}
	listening()
	select {}
}

// An nbioSession is what a connection has received of a message that is not whole, and its answers to one read.
type nbioSession struct {
	rest, out []byte
}

func (s *nbioSession) each(next cutter, data []byte, handle func([]byte)) error {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, data...)
		data = s.rest
	}
	rest, err := next.each(data, handle)
	s.rest = append(s.rest[:0], rest...)
	return err
}
