// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/quartet-go/quartet/reactor"
)

// streamOptions are those of both sides. One direction of a pair holds at most HighWater and what one read brings
// (64 KiB); with more room than the default, fast sides do not stop each other for every read. A side that takes
// nothing for WriteTimeout, 60 s, ends the pair.
var streamOptions = &reactor.StreamOptions{HighWater: 256 << 10, LowWater: 64 << 10}

// A proxy connects every client that it accepts to one address.
type proxy struct{ to string }

// A pair is a client and its server, on the same loop: so each side may call the other's methods.
type pair struct {
	client, server side
	ctx            context.Context // done when either has ended: nobody waits for the dial then
	cancel         context.CancelFunc
}

// A side is the handler of one of the two connections.
type side struct {
	conn    *reactor.Conn // nil until connected
	other   *side
	pair    *pair
	stopped bool // Data has paused it
}

// accept dials for the client, which waits unread meanwhile.
func (p *proxy) accept(c *reactor.Conn) (reactor.Handler, error) {
	pr := new(pair)
	pr.ctx, pr.cancel = context.WithCancel(context.Background())
	pr.client = side{conn: c, other: &pr.server, pair: pr}
	pr.server = side{other: &pr.client, pair: pr}
	c.Pause()
	err := c.Dial(pr.ctx, "tcp", p.to, pr.connected, &reactor.DialOptions{Stream: streamOptions})
	if err != nil {
		slog.Error("not connected", "client", c.Tuple().Remote, "err", err)
		pr.cancel()
	}
	return &pr.client, err
}

// connected is told how the dial ended.
func (pr *pair) connected(c *reactor.Conn, err error) (reactor.Handler, error) {
	if gone := pr.ctx.Err(); gone != nil {
		return nil, gone
	}
	if err != nil {
		slog.Error("not connected", "client", pr.client.conn.Tuple().Remote, "err", err)
		pr.client.conn.Close()
		return nil, err
	}
	pr.server.conn = c
	pr.client.conn.Resume()
	return &pr.server, nil
}

// Data passes on what came, and stops when the other side has enough.
func (s *side) Data(c *reactor.Conn, in []byte) (int, error) {
	if _, err := s.other.conn.Write(in); err != nil {
		return 0, err
	}
	if s.other.conn.Blocked() {
		s.stopped = true
		c.Pause()
	}
	return len(in), nil
}

// Writable goes on with what Data stopped.
func (s *side) Writable(*reactor.Conn) {
	s.other.stopped = false
	s.other.conn.Resume()
}

// EOF passes the half-close on. The other half goes on, until its own end closes both connections.
func (s *side) EOF(*reactor.Conn, []byte) error { return s.other.conn.CloseWrite() }

// Draining is the beginning of the proxy's own end. Little more will be read, so that what a stopped side has to send is
// cut here: with a reset, lest the part be taken for the whole.
func (s *side) Draining(*reactor.Conn) {
	if s.stopped {
		s.other.conn.Abort()
	}
}

// Close ends the other side as this one ended.
func (s *side) Close(_ *reactor.Conn, err error) {
	s.pair.cancel()
	switch {
	case s.other.conn == nil || err == io.EOF: // both halves have ended, for the other side too
	case err == nil:
		s.other.conn.Close() // a drain, and everything that came was passed on: what the other has still to send is sent
	default:
		s.other.conn.Abort()
	}
}
