// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"

	"github.com/quartet-go/quartet/codec"
)

// A Ref is the handle of a connection, of a Session or of a socket of DialPacket for any goroutine: small, comparable,
// and valid for ever. Connections are never reused, so one whose connection is gone answers net.ErrClosed, as does the
// zero value. What one goroutine asks of one connection happens in the order in which it asked.
type Ref struct{ c *Conn }

// ID returns Conn.ID, 0 for the zero value.
func (r Ref) ID() uint64 {
	if r.c == nil {
		return 0
	}
	return r.c.id
}

// Tuple returns Conn.Tuple, also when the connection is gone.
func (r Ref) Tuple() FourTuple {
	if r.c == nil {
		return FourTuple{}
	}
	return r.c.tuple
}

// Loop returns the number of the connection's loop, as in Stats, also when the connection is gone; -1 for the zero value.
func (r Ref) Loop() int {
	if r.c == nil {
		return -1
	}
	return r.c.loop.index
}

// Write queues a copy of p for the connection. A nil error means queued, not delivered: should the connection end
// first, its handler's Close is told by *UnsentError. The count is len(p) or 0. It fails with ErrOverflow at
// MaxOutput, ErrMailboxFull, or net.ErrClosed. To a Session or a socket of DialPacket p is one datagram, possibly
// empty; then MaxOutput is 16 MiB, and EMSGSIZE an error too.
func (r Ref) Write(p []byte) (int, error) {
	if err := r.mayWrite(); err != nil {
		return 0, err
	}
	s := getBuffer(len(p))
	s.B = append(s.B, p...)
	if err := r.post(segment{ByteBuffer: s}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Send is Write of payload framed by enc, on the caller's goroutine. Nothing is queued if enc fails.
func (r Ref) Send(enc codec.Encoder, payload []byte) (err error) {
	if err := r.mayWrite(); err != nil {
		return err
	}
	s := getBuffer(len(payload) + frameRoom)
	if s.B, err = enc.AppendFrame(s.B, payload); err != nil {
		putBuffer(s)
		return err
	}
	return r.post(segment{ByteBuffer: s})
}

// Close asks for Conn.Close.
func (r Ref) Close() error {
	if r.c == nil || r.c.hasEnded() {
		return net.ErrClosed
	}
	return r.c.loop.post(task{op: opClose, c: r.c}, false)
}

// Do has fn called on the connection's loop. nil means that it is called exactly once: with a nil error, or with
// net.ErrClosed if the connection went first; then c is only good for its ID and tuple. Otherwise the error is
// ErrMailboxFull or net.ErrClosed and fn is not called. A panic in fn closes the connection like one in its handler.
func (r Ref) Do(fn func(c *Conn, err error)) error {
	if r.c == nil {
		return net.ErrClosed
	}
	return r.c.loop.post(task{op: opDo, c: r.c, fn: fn}, false)
}

func (r Ref) mayWrite() error {
	switch {
	case r.c == nil || r.c.hasEnded():
		return net.ErrClosed
	case r.c.held.Load() >= int64(r.c.origin.opts.MaxOutput):
		return ErrOverflow
	}
	return nil
}

// post hands the segment over; it counts as output from now on.
func (r Ref) post(s segment) error {
	n := len(s.B)
	if r.c.origin.datagrams {
		if err := r.c.mayPost(n); err != nil {
			s.free()
			return err
		}
	} else if n == 0 {
		s.free()
		return nil
	}
	s.charge(r.c.loop.r)
	err := r.c.loop.post(task{op: opWrite, c: r.c, out: s}, false)
	if err != nil {
		s.drop(r.c.loop.r)
	}
	return err
}

// runTask is a step: what Ref's methods and the reactor ask of the connection.
func (c *Conn) runTask() {
	t := c.loop.task
	c.loop.task = task{}
	switch t.op {
	case opDo:
		var err error
		if c.hasEnded() {
			err = net.ErrClosed
		}
		t.fn(c, err)
	case opClose:
		if p := c.peer(); p != nil {
			_ = p.close(nil)
		} else {
			c.finish(nil)
		}
	case opRelease:
		if c.holds--; c.holds == 0 {
			c.released()
		}
		c.touch()
	case opOpen:
		c.open()
	}
}

// posted takes a segment that Ref.Write queued. All of a turn leave together.
func (c *Conn) posted(s segment) {
	if p := c.peer(); p != nil {
		p.posted(s)
		return
	}
	if c.phase != phaseOpen || c.flags&(fClose|fFailed|fCloseWrite) != 0 {
		// Lost. It stays counted in held, which end reports, unless that has been.
		s.drop(c.loop.r)
		return
	}
	c.loop.counts.unsent += int64(len(s.B)) // before push, which may free s
	c.queue().push(s)
	c.flags |= fUntried
	c.checkHighWater()
	c.later()
}
