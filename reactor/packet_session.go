// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// A SessionFunc makes the handler of a new session. It runs on the socket's loop before the session's first datagram
// is delivered and may already write. A handler may have state of its own, or be one shared value. An error refuses
// the datagram: there is no session, and the next from that address asks again.
type SessionFunc func(s *Session) (SessionHandler, error)

// A SessionHandler reacts to one session. Its methods run on the session's loop, one at a time, and none is called from
// inside another. A panic in one closes the session, with a *PanicError.
type SessionHandler interface {
	// Datagram is called for each datagram of the session, empty ones included, the first too. d and its Payload are
	// valid until it returns.
	Datagram(s *Session, d *Datagram)

	// Close is called exactly once, last, with the tuple still readable. nil: closed here; or what Conn.CloseWithError
	// was given; ErrAborted; ErrIdleTimeout: nothing was received for IdleTimeout; ErrShutdown; net.ErrClosed: the
	// listener was closed; a *PanicError; any of them in an *UnsentError if a datagram that Ref.Write had queued was lost.
	Close(s *Session, err error)
}

// The defaults of SessionOptions.
const (
	DefaultSessionIdleTimeout = time.Minute
	DefaultMaxSessions        = 1 << 16
)

// SessionOptions configures Sessions. nil and the zero value are the defaults.
type SessionOptions struct {
	// IdleTimeout closes a session from which no datagram was received for so long, with ErrIdleTimeout; never early,
	// and late by at most a thirty-second of itself and what keeps the loop busy. What is sent does not count: the kernel
	// takes it whether anybody is there or not. 0 means a minute; -1 never.
	IdleTimeout time.Duration

	// MaxSessions bounds the sessions on all sockets of the listener together. At the limit datagrams of new addresses
	// are refused and counted, see PacketStats; the sessions there are notice nothing. At most 16,777,216, which is what -1
	// means; 0 means 65536.
	MaxSessions int
}

// Sessions makes a PacketHandler that keeps a session for each sender: for each remote address and, on a socket of all
// interfaces, local address. open is called for the first datagram of each. Wrapped in another PacketHandler, Sessions
// sees what that lets through. A socket has one set of sessions, a value of Sessions may serve one listener.
//
// ListenPacket reports what is wrong with the options.
func Sessions(open SessionFunc, o *SessionOptions) PacketHandler {
	h := &sessions{open: open}
	if o != nil {
		h.opts = *o
	}
	var c checker
	if open == nil {
		c.fail("Sessions without a function")
	}
	defaultTo(&c, "MaxSessions", &h.opts.MaxSessions, DefaultMaxSessions, 1<<fdBits)
	defaultTo(&c, "IdleTimeout", &h.opts.IdleTimeout, DefaultSessionIdleTimeout, 0)
	if h.opts.MaxSessions > 1<<fdBits {
		c.fail("MaxSessions is %d, must be at most %d", h.opts.MaxSessions, 1<<fdBits)
	}
	h.opts.IdleTimeout = min(h.opts.IdleTimeout, maxDuration)
	h.err = c.err
	return h
}

// sessions is the PacketHandler, shared by the sockets of a listener.
type sessions struct {
	open  SessionFunc
	opts  SessionOptions
	err   error // in opts
	count atomic.Int64
}

// A Session is the state that a packet listener keeps of one sender. It never leaves its loop; what leaves it is a Ref,
// which is valid for ever. Once ended it stays so: Write answers net.ErrClosed.
type Session struct {
	peer
	owner   *sessions
	handler SessionHandler
	moved   int64 // when a datagram was received

	older, newer *Session // in the order of moved

	closing, ended bool
}

// A sessionList is a socket's sessions in the order in which they received last.
type sessionList struct {
	owner          *sessions
	oldest, newest *Session
}

// ID names the session for ever: no other, and no connection, of the same Reactor has it.
func (s *Session) ID() uint64 { return s.conn.id }

// Tuple returns the session's two addresses: the one that the datagrams are answered from and the one they come from.
func (s *Session) Tuple() FourTuple { return s.conn.tuple }

// Ref returns the session's handle for other goroutines. Ref.Write sends one datagram.
func (s *Session) Ref() Ref { return Ref{&s.conn} }

// PacketConn returns the socket.
func (s *Session) PacketConn() *PacketConn { return s.socket }

// Write sends one datagram to the session's remote address, from its local one, as PacketConn.Send does. The count is
// len(p) or 0.
func (s *Session) Write(p []byte) (int, error) { return s.write(p) }

// Close ends the session; SessionHandler's Close follows after the running method has returned. A datagram that comes
// later begins a new one.
func (s *Session) Close() error {
	s.conn.assertOnLoop()
	return s.close(nil)
}

// close is Close with a cause.
func (s *Session) close(cause error) error {
	if s.closing {
		return net.ErrClosed
	}
	s.closing, s.rare.cause = true, cause
	s.conn.cancelContext()
	return s.conn.loop.postLoop(s.end) // unless it ends before
}

// Datagram finds the sender's session, or begins one, and hands it d.
func (h *sessions) Datagram(s *PacketConn, d *Datagram) {
	p := s.loop.packets
	tuple := FourTuple{Local: d.To, Remote: d.From}
	if d.source.IsValid() {
		tuple.Local = netip.AddrPortFrom(d.source, d.To.Port()) // d.To may be a group
	}
	var of *Session
	if c := s.loop.peers.of(tuple); c != nil {
		of = c.rare.peer.session
	}
	if of != nil && of.closing {
		of.end()
		of = nil
	}
	if of == nil {
		if of = h.begin(s, tuple, d.source); of == nil {
			s.stats.Refused++
			return
		}
	}
	if h.opts.IdleTimeout > 0 {
		if p.stamp == 0 {
			p.stamp = s.loop.clock.now()
		}
		of.received(p.stamp)
	}
	if !of.closing {
		p.arrived = d
		s.loop.serve(&of.conn, (*Conn).datagramArrived)
	}
	if of.closing {
		of.end()
	}
}

// datagramArrived is a step of a session.
func (c *Conn) datagramArrived() {
	s := c.rare.peer.session
	s.handler.Datagram(s, c.loop.packets.arrived)
}

// begin opens a session, unless it is refused.
func (h *sessions) begin(socket *PacketConn, tuple FourTuple, source netip.Addr) *Session {
	list := &socket.sessions
	if list.owner == nil {
		list.owner = h
	}
	if list.owner != h {
		panic(errors.New("reactor: a second set of Sessions on a socket"))
	}
	if h.count.Add(1) > int64(h.opts.MaxSessions) {
		h.count.Add(-1)
		return nil
	}
	s := &Session{owner: h, moved: socket.loop.clock.now()}
	s.session, s.source = s, source
	s.enter(socket, tuple)
	list.append(s)
	opened := false
	defer func() {
		if !opened { // refused, or open did not return
			s.end()
		}
	}()
	socket.loop.serve(&s.conn, func(*Conn) {
		handler, err := h.open(s)
		if err == nil && handler == nil {
			socket.loop.r.opts.Logger.Error("reactor: the function of Sessions returned neither handler nor error", "listener", socket.listener.String())
		}
		if err == nil {
			s.handler = handler
		}
	})
	if s.handler == nil {
		return nil
	}
	opened = true
	if at := socket.due(); list.oldest == s && at != 0 {
		socket.loop.deadlines.arm(socket.loop, at)
	}
	return s
}

// received notes that a datagram came.
func (s *Session) received(at int64) {
	s.moved = at
	if list := &s.socket.sessions; list.newest != s {
		list.remove(s)
		list.append(s)
	}
}

// end takes the session out and tells its handler.
func (s *Session) end() {
	if s.ended {
		return
	}
	s.closing, s.ended = true, true
	s.socket.sessions.remove(s)
	cause := s.rare.cause
	if unsent := s.leave(); unsent > 0 {
		if cause == nil {
			cause = net.ErrClosed
		}
		cause = &UnsentError{Bytes: unsent, Cause: cause}
	}
	defer s.owner.count.Add(-1) // after the handler's Close, so that no more than MaxSessions handlers live at a time
	if h := s.handler; h != nil {
		s.socket.loop.serve(&s.conn, func(*Conn) { h.Close(s, cause) })
	}
}

// endAll ends all sessions, also if a handler ends the goroutine.
func (list *sessionList) endAll(cause error) {
	if list.oldest == nil {
		return
	}
	defer list.endAll(cause) // who is left, if Goexit ended this; else nobody
	for s := list.oldest; s != nil; s = list.oldest {
		_ = s.close(cause)
		s.end()
	}
}

func (list *sessionList) append(s *Session) {
	s.older, s.newer = list.newest, nil
	if list.newest == nil {
		list.oldest = s
	} else {
		list.newest.newer = s
	}
	list.newest = s
}

func (list *sessionList) remove(s *Session) {
	if s.older == nil {
		list.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		list.newest = s.older
	} else {
		s.newer.older = s.older
	}
	s.older, s.newer = nil, nil
}

// idleAt returns when the oldest session will have idled, 0 for never.
func (list *sessionList) idleAt() int64 {
	if list.oldest == nil || list.owner.opts.IdleTimeout <= 0 {
		return 0
	}
	return list.oldest.moved + int64(list.owner.opts.IdleTimeout)
}

// endIdle ends the sessions that have idled.
func (list *sessionList) endIdle(t int64) {
	for at := list.idleAt(); at != 0 && at <= t; at = list.idleAt() {
		s := list.oldest
		_ = s.close(ErrIdleTimeout)
		s.end()
	}
}
