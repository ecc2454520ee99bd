// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"sync/atomic"

	"github.com/quartet-go/quartet/codec"
	"github.com/valyala/bytebufferpool"
)

// A Message is bytes for many connections, of any loops: made once, sent from where they lie and copied for nobody.
// (What is left of one below 512 bytes is copied where it has to wait, for a reference costs about as much.) Any
// goroutine may use it, any number of times.
//
// To a connection it counts as output like any other. For Options.MaxBuffered it counts once, however many wait for it;
// one that connections of several reactors wait for counts with the reactor that was first to have it wait. It needs
// no release: the garbage collector takes it when the last user is done.
type Message struct {
	buf   bytebufferpool.ByteBuffer // never of a pool: nobody knows who is the last to read it
	users atomic.Int64              // queues and mailboxes that it is in
	owner atomic.Pointer[Reactor]   // where it counts while there are any
}

// Shared makes a message of b, which is kept and must not be changed any more. A payload that a handler was given is
// the loop's: have it copied (bytes.Clone), or use SharedFrame.
func Shared(b []byte) *Message {
	return &Message{buf: bytebufferpool.ByteBuffer{B: b}}
}

// SharedFrame makes a message of payload, framed by enc. It keeps a copy, so payload may be what a handler was given.
func SharedFrame(enc codec.Encoder, payload []byte) (*Message, error) {
	b, err := enc.AppendFrame(make([]byte, 0, len(payload)+frameRoom), payload)
	if err != nil {
		return nil, err
	}
	return Shared(b), nil
}

// Len returns the number of bytes.
func (m *Message) Len() int { return len(m.buf.B) }

// retain notes one more user. Any goroutine.
func (m *Message) retain(r *Reactor) {
	if m.users.Add(1) == 1 {
		m.owner.CompareAndSwap(nil, r)
		m.owner.Load().charge(int64(m.Len()))
	}
}

// release notes one user less. Any goroutine.
func (m *Message) release() {
	if m.users.Add(-1) == 0 {
		m.owner.Load().charge(-int64(m.Len()))
	}
}

// WriteShared takes all of m or nothing, and never blocks, like Write, whose errors it has. Its limit is sharper: it
// fails with ErrOverflow if output would pass MaxOutput, unless there is no other. So a connection that misses messages
// misses whole ones, and never has more than its limit waiting but for a single message that is larger.
func (c *Conn) WriteShared(m *Message) error {
	c.assertOnLoop()
	if p := c.peer(); p != nil {
		_, err := p.write(m.buf.B)
		return err
	}
	if err := c.mayShare(m); err != nil {
		return err
	}
	if m.Len() < smallSegment {
		return c.write(m.buf.B) // into the gathered output, rather than a system call of its own
	}
	sent := 0
	if c.loop.cur == c && c.output == nil {
		var err error
		if sent, err = c.sendWith(m.buf.B); err != nil {
			return err
		}
	}
	c.share(m, sent)
	c.wrote()
	return nil
}

// WriteShared queues m for the connection as Write does a copy, whose errors it has, with the limit of
// Conn.WriteShared. For many connections see Group.
func (r Ref) WriteShared(m *Message) error {
	switch {
	case r.c == nil || r.c.hasEnded():
		return net.ErrClosed
	case !r.c.hasRoom(m, r.c.held.Load()):
		return ErrOverflow
	case m.Len() < smallShared:
		_, err := r.Write(m.buf.B)
		return err
	}
	return r.post(segment{&m.buf, m})
}

// mayShare says why m may not be written, if so.
func (c *Conn) mayShare(m *Message) error {
	err := c.mayWrite()
	if err == nil && !c.hasRoom(m, c.held.Load()+int64(c.gathered())) {
		err = ErrOverflow
	}
	return err
}

// hasRoom says whether m fits below MaxOutput beside what is held. Any goroutine.
func (c *Conn) hasRoom(m *Message, held int64) bool {
	return held == 0 || int64(m.Len()) <= int64(c.origin.opts.MaxOutput)-held
}

// share puts m at the end of the queue, of which the first bytes were sent if the queue was empty.
func (c *Conn) share(m *Message, sent int) {
	if c.gathered() > 0 {
		c.flushGather() // it was written before
	}
	if left := m.buf.B[sent:]; len(left) < smallShared {
		c.enqueue(left)
		return
	}
	m.retain(c.loop.r)
	c.held.Add(int64(m.Len()))
	c.loop.counts.unsent += int64(m.Len())
	c.queue().push(segment{&m.buf, m})
	c.dropSent(sent)
}
