// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// errMaxConns is why an acceptor stops, in its log line.
var errMaxConns = errors.New("MaxConns are open")

const (
	maxAccepts   = 16 // connections accepted for one event
	retryFirst   = 5 * time.Millisecond
	retryLongest = time.Second
)

// An acceptor is one listening socket on its loop. Its states: accepting, and stopped for want of descriptors, memory
// or a place under MaxConns, when it is not watched and tries again with back-off, and at once when a connection
// closes; stopped by AcceptRate it waits for its next token alone. So a loop that cannot accept neither spins nor dies,
// and the backlog holds who comes.
type acceptor struct {
	loop     *loop
	listener *Listener
	fd       int
	watched  interest
	stopped  bool
	limited  bool          // it is AcceptRate that stopped it
	again    int64         // when to try again, while stopped
	backoff  time.Duration // how long the last stop waited, 0 after accepting
	told     bool          // the log says that nothing is accepted
	draining bool          // Shutdown has begun
	drained  int           // connections accepted since, at most
	counts   acceptCounts
}

func (a *acceptor) descriptor() int { return a.fd }

func (a *acceptor) due() int64 {
	if a.stopped {
		return a.again
	}
	return 0
}

// ready accepts a batch.
func (a *acceptor) ready() {
	if a.fd < 0 {
		return // a task that came late
	}
	if a.watch(interestRead); !a.stopped {
		a.acceptSome()
	}
}

// acceptSome accepts a batch, or all who wait if there is no second event for who is left.
func (a *acceptor) acceptSome() {
	if edgeTriggered {
		a.accept(maxBacklog)
	} else {
		a.accept(maxAccepts)
	}
}

// retry accepts again after a stop.
func (a *acceptor) retry() {
	switch {
	case a.fd < 0 || !a.stopped || a.limited && a.loop.clock.now() < a.again:
		return
	case a.draining:
		a.drain()
		return
	}
	a.restart()
	if a.acceptSome(); a.stopped {
		return
	}
	a.backoff = 0
	if a.told {
		a.told = false
		a.loop.r.opts.Logger.Info("reactor: accepting again", "listener", a.listener.String())
	}
	a.watch(interestRead)
}

// restart ends a stop.
func (a *acceptor) restart() {
	if a.stopped && !a.limited {
		a.loop.r.starved.Add(-1)
	}
	a.stopped, a.limited = false, false
}

// accept takes up to n connections and says whether there may be more.
func (a *acceptor) accept(n int) bool {
	limits := a.listener.limits
	for range n {
		if at := limits.take(a.loop.clock); at != 0 {
			if readable(a.fd) {
				a.wait(at)
			}
			return false
		}
		mark := a.loop.markLasting()
		fd, tuple, full, err := a.acceptOnePlace()
		a.counts.count(full, err)
		refused := err == 0 && !full && !limits.enter(tuple.Remote.Addr())
		if err != 0 || full || refused {
			limits.giveBack()
		}
		switch {
		case full:
			a.stop(errMaxConns)
			return false
		case refused:
			a.refuse(fd, tuple)
			continue
		case err == 0:
			a.hand(fd, tuple, mark)
			continue
		}
		switch err {
		case unix.EAGAIN:
			return false
		case unix.EMFILE, unix.ENFILE:
			if !a.loop.dropLingering() {
				a.stop(err)
				return false
			}
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM, unix.EOPNOTSUPP, unix.ENOPROTOOPT,
			unix.ENETDOWN, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// The connection is gone, or was never quite there: accept(2).
		default: // ENOBUFS, ENOMEM, and what nobody foresaw
			a.stop(err)
			return false
		}
	}
	return true
}

// acceptOnePlace accepts one connection if there is a place for it under MaxConns. The lock keeps acceptors from taking
// the same place; only they add to conns.
func (a *acceptor) acceptOnePlace() (fd int, tuple FourTuple, full bool, err unix.Errno) {
	r := a.loop.r
	if r.opts.MaxConns != math.MaxInt {
		r.places.Lock()
		defer r.places.Unlock()
		if r.conns.Load() >= int64(r.opts.MaxConns) {
			return -1, tuple, true, 0
		}
	}
	if fd, tuple, err = a.acceptOne(); err == 0 {
		r.conns.Add(1)
	}
	return fd, tuple, false, err
}

// hand gives a new connection to the loop with the fewest, or to this one where each loop has its own socket.
func (a *acceptor) hand(fd int, tuple FourTuple, mark int64) {
	l := a.loop
	if !a.listener.opts.ReusePort {
		l = l.leastLoaded()
	}
	l.load.Add(1)
	c := l.newConn(&a.listener.origin, fd, tuple)
	a.loop.counts.Accepts++
	a.loop.span(TraceAccept, c, mark, 0, 0)
	if l == a.loop {
		l.serve(c, (*Conn).open)
	} else if l.post(task{op: opOpen, c: c}, true) != nil {
		a.loop.counts.TooLate++
		l.load.Add(-1)
		l.r.conns.Add(-1)
		a.listener.limits.leave(tuple.Remote.Addr())
		closeSocket(fd)
	}
}

// leastLoaded returns the loop with the fewest connections, l itself if it is one of them. Any goroutine.
func (l *loop) leastLoaded() *loop {
	for _, other := range l.r.loops {
		if other.load.Load() < l.load.Load() {
			l = other
		}
	}
	return l
}

// newConn makes a connection of the loop, which does not know it yet. Any goroutine.
func (l *loop) newConn(from *origin, fd int, tuple FourTuple) *Conn {
	return &Conn{
		loop: l, origin: from, tuple: tuple, fd: int32(fd), heapIndex: -1,
		id: l.r.sequence.Add(1)<<fdBits | uint64(fd),
	}
}

// refuse resets a connection over MaxPerPeer: that leaves nothing behind here, neither a descriptor that lingers nor a
// port in TIME_WAIT, of which who connects too often could have many.
func (a *acceptor) refuse(fd int, tuple FourTuple) {
	r := a.loop.r
	if t := a.loop.clock.now(); a.listener.refusals.begin(t, t) {
		r.opts.Logger.Warn("reactor: refusing", "listener", a.listener.String(), "peer", tuple.Remote.Addr().String(), "err", ErrPeerLimit)
	}
	resetOnClose(fd)
	closeSocket(fd)
	r.conns.Add(-1)
	r.madeRoom()
}

// stop ends accepting until a place comes free or the back-off is over.
func (a *acceptor) stop(cause error) {
	r := a.loop.r
	a.backoff = min(max(2*a.backoff, retryFirst), retryLongest)
	t := a.loop.clock.now()
	again := t + int64(a.backoff)
	a.stopUntil(again)
	if a.listener.stops.begin(t, again) {
		r.opts.Logger.Warn("reactor: not accepting", "listener", a.listener.String(), "err", cause)
		a.told = true
	}
	r.starved.Add(1)
	if r.conns.Load() < int64(r.opts.MaxConns) && cause == errMaxConns {
		a.loop.madeRoom() // one ended since we looked, and may not have seen us starve
	}
}

// wait ends accepting until the moment when AcceptRate has a token.
func (a *acceptor) wait(at int64) {
	a.limited = true
	a.stopUntil(at)
	a.listener.limits.waits.Add(1)
	if a.listener.waits.begin(a.loop.clock.now(), at) {
		a.loop.r.opts.Logger.Warn("reactor: accepting slowly", "listener", a.listener.String(), "err", ErrAcceptRate)
	}
}

func (a *acceptor) stopUntil(at int64) {
	a.stopped, a.again = true, at
	a.watch(unregistered)
	a.loop.deadlines.arm(a.loop, at)
}

// A spell of trouble is told once, whichever of a listener's sockets meets it: what comes within a second of its last is
// part of it. The value is when that is over.
type spell struct{ atomic.Int64 }

// begin notes trouble that lasts until a moment and says whether a spell begins with it. Any goroutine.
func (s *spell) begin(now, until int64) bool {
	for {
		over := s.Load()
		if s.CompareAndSwap(over, max(over, until+int64(retryLongest))) {
			return now > over
		}
	}
}

// watch changes what the socket is watched for.
func (a *acceptor) watch(to interest) {
	if to == a.watched || to == interestRead && a.stopped {
		return
	}
	err := a.loop.poller.set(a.fd, a.watched, to)
	if err != nil && to != unregistered {
		a.stop(err)
		return
	}
	a.watched = to
}

// open puts the socket on its loop.
func (a *acceptor) open() {
	if a.fd < 0 {
		return // closed before Serve
	}
	a.loop.sources = append(a.loop.sources, a)
	a.watch(interestRead)
	if a.loop.draining { // Shutdown overtook Listen
		a.drain()
	}
}

// drain accepts what waits and closes. A backlog has an end, but clients may refill it. Stopped, it goes on when a
// connection has made room, which all of a draining reactor do, as long as there are any, or AcceptRate lets more in.
func (a *acceptor) drain() {
	if a.fd < 0 {
		return
	}
	completed, waits := false, false
	defer func() {
		if waits || !completed && a.loop.postLoop(a.drain) == nil { // the latter if an accept func called Goexit
			return
		}
		a.closeFD()
	}()
	a.draining = true
	a.restart()
	some := a.loop.r.anyOpen()
	for more := true; more && a.drained < maxBacklog; a.drained += maxAccepts {
		more = a.accept(maxAccepts)
	}
	completed, waits = true, a.stopped && (a.limited || some || a.loop.r.anyOpen())
}

// anyOpen says whether there is a connection whose end will make room. Any goroutine.
func (r *Reactor) anyOpen() bool {
	return r.conns.Load() > 0 || slices.ContainsFunc(r.loops, func(l *loop) bool { return l.load.Load() > 0 })
}

// closeFD closes the socket; who still waits in its backlog is reset by the kernel.
func (a *acceptor) closeFD() {
	if a.fd < 0 {
		return
	}
	a.loop.removeSource(a)
	a.restart()
	if a.watched != unregistered {
		_ = a.loop.poller.set(a.fd, a.watched, unregistered)
	}
	a.listener.closeSocket(&a.fd)
}

// madeRoom lets the acceptors know that a descriptor or a place under MaxConns may have come free. Any goroutine.
func (r *Reactor) madeRoom() {
	if r.starved.Load() > 0 {
		for _, l := range r.loops {
			l.madeRoom()
		}
	}
}

func (l *loop) madeRoom() {
	l.room.Store(true)
	l.wake()
}

// dropLingering closes the connections of all loops that only linger and says whether there were any here: their
// descriptors are worth more to new ones.
func (l *loop) dropLingering() bool {
	dropped := l.dropOwnLingering()
	for _, other := range l.r.loops {
		if other != l && other.lingering.Load() > 0 {
			_ = other.postLoop(func() { other.dropOwnLingering() })
		}
	}
	return dropped
}

func (l *loop) dropOwnLingering() bool {
	if l.lingering.Load() == 0 {
		return false
	}
	for _, c := range l.registry.byFD {
		if c != nil && c.phase == phaseLingering {
			c.endLinger()
		}
	}
	return true
}
