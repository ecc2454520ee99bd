// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"context"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// serveReactor is the reactor of this project with its default options.
func serveReactor(c config, listening func()) error {
	r, err := reactor.New(reactor.Options{Loops: c.loops})
	if err != nil {
		return err
	}
	switch accept := reactorService(r, c); {
	case c.network == "udp" && c.service == "echo":
		_, err = r.ListenPacket(c.network, c.address, reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
			_ = d.Reply(d.Payload)
		}), nil)
	case c.network == "udp" || accept == nil:
		return noService(c)
	default:
		_, err = r.Listen(c.network, c.address, accept, nil)
	}
	if err != nil {
		return err
	}
	listening()
	return r.Serve(context.Background())
}

// reactorService returns nil for a service that is not known.
func reactorService(r *reactor.Reactor, c config) reactor.AcceptFunc {
	prefix := codec.LengthPrefix(framePrefix, framePrefix+maxFrame)
	switch c.service {
	case "echo":
		return sharing(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			_, err := c.Write(in)
			return len(in), err
		}))
	case "frames":
		return sharing(reactor.Frames(prefix, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
			return c.Send(prefix, payload)
		})))
	case "fixed":
		return sharing(reactor.Frames(codec.Fixed(c.size), reactor.FrameFunc(func(c *reactor.Conn, frame []byte) error {
			_, err := c.Write(frame)
			return err
		})))
	case "push":
		pushers := newHandoff(func(to reactor.Ref, buf *[]byte, free func(*[]byte)) {
			_, _ = to.Write(*buf)
			free(buf)
		})
		return sharing(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			pushers.give(c.ID(), c.Ref(), in)
			return len(in), nil
		}))
	case "broadcast":
		whole := codec.LengthField(codec.LengthFieldOptions{Size: framePrefix, Max: framePrefix + maxFrame}) // the prefix stays on
		members := r.NewGroup()
		h := reactor.Frames(whole, reactor.FrameFunc(func(_ *reactor.Conn, frame []byte) error {
			// Who sends faster than the loops can hand on is closed, and a member whose output overflows.
			return members.Write(reactor.Shared(bytes.Clone(frame)), (*reactor.Conn).Abort)
		}))
		return func(c *reactor.Conn) (reactor.Handler, error) { return h, members.Add(c) }
	}
	return nil
}

// sharing has all connections handled by one value.
func sharing(h reactor.Handler) reactor.AcceptFunc {
	return func(*reactor.Conn) (reactor.Handler, error) { return h, nil }
}
