// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// serveGnet is gnet's engine as its examples write it: default options, a write for each message.
func serveGnet(c config, listening func()) error {
	e := &gnetEngine{listening: listening}
	if e.traffic = gnetService(c, e); e.traffic == nil || c.network == "udp" && c.service != "echo" {
		return noService(c)
	}
	return gnet.Run(e, c.network+"://"+c.address, gnet.WithNumEventLoop(c.loops), gnet.WithLogLevel(logging.ErrorLevel))
}

type gnetEngine struct {
	gnet.BuiltinEventEngine
	listening func()
	traffic   func(gnet.Conn) gnet.Action

	numbered bool // push
	numbers  atomic.Uint64
	room     *room[gnet.Conn] // broadcast
}

// OnBoot is called when the listeners are bound.
func (e *gnetEngine) OnBoot(gnet.Engine) gnet.Action {
	e.listening()
	return gnet.None
}

func (e *gnetEngine) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if e.numbered {
		c.SetContext(e.numbers.Add(1))
	}
	if e.room != nil {
		e.room.join(c)
	}
	return nil, gnet.None
}

func (e *gnetEngine) OnClose(c gnet.Conn, _ error) gnet.Action {
	if e.room != nil {
		e.room.leave(c)
	}
	return gnet.None
}

func (e *gnetEngine) OnTraffic(c gnet.Conn) gnet.Action { return e.traffic(c) }

// gnetService returns nil for a service that is not known.
func gnetService(c config, e *gnetEngine) func(gnet.Conn) gnet.Action {
	switch c.service {
	case "echo":
		return func(c gnet.Conn) gnet.Action {
			b, _ := c.Next(-1)
			_, _ = c.Write(b)
			return gnet.None
		}
	case "frames":
		return gnetFrames(func(c gnet.Conn, frame []byte) { _, _ = c.Write(frame) })
	case "fixed":
		return func(conn gnet.Conn) gnet.Action {
			for conn.InboundBuffered() >= c.size {
				frame, err := conn.Next(c.size)
				if err != nil {
					return gnet.Close
				}
				_, _ = conn.Write(frame)
			}
			return gnet.None
		}
	case "push":
		e.numbered = true
		pushers := newHandoff(func(to gnet.Conn, buf *[]byte, free func(*[]byte)) {
			// gnet keeps the buffer until it is written
			_ = to.AsyncWrite(*buf, func(gnet.Conn, error) error {
				free(buf)
				return nil
			})
		})
		return func(c gnet.Conn) gnet.Action {
			b, _ := c.Next(-1)
			pushers.give(c.Context().(uint64), c, b)
			return gnet.None
		}
	case "broadcast":
		e.room = newRoom[gnet.Conn]()
		return gnetFrames(func(_ gnet.Conn, frame []byte) {
			message := append([]byte(nil), frame...) // one copy for all
			e.room.each(func(member gnet.Conn) { _ = member.AsyncWrite(message, nil) })
		})
	}
	return nil
}

func gnetFrames(handle func(c gnet.Conn, frame []byte)) func(gnet.Conn) gnet.Action {
	return func(c gnet.Conn) gnet.Action {
		for {
			head, err := c.Peek(framePrefix)
			if err != nil {
				return gnet.None
			}
			n := binary.BigEndian.Uint32(head)
			if n > maxFrame {
				return gnet.Close
			}
			frame, err := c.Peek(framePrefix + int(n))
			if err != nil {
				return gnet.None
			}
			handle(c, frame)
			_, _ = c.Discard(len(frame))
		}
	}
}
