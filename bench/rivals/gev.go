// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"sync/atomic"

	"github.com/Allenxuxu/gev"
	"github.com/Allenxuxu/gev/log"
	"github.com/Allenxuxu/ringbuffer"
)

// serveGev is gev as its examples write it: messages are cut by a Protocol, answers are what OnMessage returns.
func serveGev(c config, listening func()) error {
	if c.network != "tcp" {
		return noService(c)
	}
	log.SetLevel(log.LevelFatal)
	options := []gev.Option{gev.Network(c.network), gev.Address(c.address), gev.NumLoops(c.loops)}
	if next := cutterOf(c); next != nil {
		options = append(options, gev.CustomProtocol(&gevProtocol{next: next}))
	}
	var h gev.Handler
	switch c.service {
	case "echo", "frames", "fixed":
		h = gevEcho{}
	case "push":
		h = &gevPush{handoff: newHandoff(func(to *gev.Connection, buf *[]byte, free func(*[]byte)) {
			// gev keeps the buffer until its loop has sent it
			_ = to.Send(*buf, gev.SendInLoop(func(any) { free(buf) }))
		})}
	case "broadcast":
		h = &gevBroadcast{room: newRoom[*gev.Connection]()}
	default:
		return noService(c)
	}
	s, err := gev.NewServer(h, options...)
	if err != nil {
		return err
	}
	listening()
	s.Start()
	return nil
}

// A gevProtocol cuts messages without copying them, as gev's own DefaultProtocol does, unless they wrap around the ring.
type gevProtocol struct {
	gev.DefaultProtocol
	next cutter
}

// UnPacket returns the next message, nil if it is not whole. It has to make do with an error: gev's protocols cannot
// report one.
func (p *gevProtocol) UnPacket(c *gev.Connection, buffer *ringbuffer.RingBuffer) (any, []byte) {
	var prefix [framePrefix]byte
	head, tail := buffer.Peek(framePrefix)
	n, err := p.next(append(append(prefix[:0], head...), tail...))
	if err != nil {
		_ = c.Close()
		return nil, nil
	}
	if n == 0 || n > buffer.Length() {
		return nil, nil
	}
	head, tail = buffer.Peek(n)
	if len(tail) > 0 {
		message := (*c.UserBuffer())[:0]
		head = append(append(message, head...), tail...)
		*c.UserBuffer() = head
	}
	buffer.Retrieve(n)
	return nil, head
}

type gevEcho struct{}

func (gevEcho) OnConnect(*gev.Connection) {}
func (gevEcho) OnClose(*gev.Connection)   {}

func (gevEcho) OnMessage(_ *gev.Connection, _ any, data []byte) any { return data }

type gevPush struct {
	gevEcho
	conns   atomic.Uint64
	handoff *handoff[*gev.Connection]
}

func (p *gevPush) OnConnect(c *gev.Connection) { c.SetContext(p.conns.Add(1)) }

func (p *gevPush) OnMessage(c *gev.Connection, _ any, data []byte) any {
	p.handoff.give(c.Context().(uint64), c, data)
	return nil
}

type gevBroadcast struct{ room *room[*gev.Connection] }

func (b *gevBroadcast) OnConnect(c *gev.Connection) { b.room.join(c) }
func (b *gevBroadcast) OnClose(c *gev.Connection)   { b.room.leave(c) }

func (b *gevBroadcast) OnMessage(_ *gev.Connection, _ any, data []byte) any {
	message := append([]byte(nil), data...) // one copy for all
	b.room.each(func(member *gev.Connection) { _ = member.Send(message) })
	return nil
}
