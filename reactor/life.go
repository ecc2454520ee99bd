// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// The life of a connection. Names in capitals are phases, or flags of phaseOpen; the functions named are the arrows.
//
//	accepted or connected (dialing.go) --open: accept func--> OPEN   (refuse: the accept func's error)
//	OPEN     --peerEnded: peer FIN--> EOF              EOF(c, rest); held or kept open, writes go on
//	OPEN     --shutWrite: CloseWrite, flushed--> SHUT  reads go on until the peer ends; both ended: end
//	OPEN     --CloseRead--> OPEN                       no more Data, no EOF; input is discarded until the peer's FIN
//	OPEN     --finish: Close, an error of a handler--> DRAINING   no more Data; flush, bounded by time without progress
//	DRAINING --end: flushed--> SHUT_WR, Close(c, nil or the error) --> LINGERING, or CLOSED if the peer's FIN was read
//	DRAINING --end: no progress, reset--> Close(c, *UnsentError) --> CLOSED
//	OPEN     --fail, end: socket error, deadline, Abort, Hijack, panic--> Close(c, cause) --> CLOSED
//	LINGERING --readLinger, expire: FIN, 64 KiB, 2 s of silence, 10 s--> CLOSED
//
// Methods of Conn and of handlers only set flags; settle, which ends every step, walks the arrows. So no method of a
// handler is called from inside another, and each arrow stands in one place.
type phase uint8

const (
	phaseOpen phase = iota
	phaseDraining
	phaseLingering
	phaseClosed
	phasePeer // no stream: the record of a peer of datagrams, see packet_peer.go
)

// flags of a connection; without any, with no output and watched for input, a connection is in the common state.
type flags uint32

const (
	fPaused     flags = 1 << iota // Pause
	fSuspended                    // Suspend
	fBlocked                      // output passed the high-water mark and has not fallen below the low-water mark
	fAgain                        // delivery of what is unconsumed is owed
	fParked                       // the reactor is over MaxBuffered
	fEOF                          // the peer's FIN was read
	fCloseWrite                   // CloseWrite was called
	fShut                         // the writing half is shut down
	fClose                        // to be closed gracefully
	fCloseHeld                    // the same, once no Hold is left
	fClean                        // the cause of closing is io.EOF
	fFailed                       // to be closed at once
	fReset                        // and with a reset
	fDrain                        // Shutdown has begun and the connection has not had its last read
	fLastRead                     // it has: nothing more is read
	fUntried                      // output was queued without trying to send it
	fTodo                         // on the loop's list for the next turn
	fReadable                     // edge-triggered: an arrival was reported and not read to its end
	fCloseRead                    // CloseRead was called: what comes is received and discarded
	fSilent                       // FirstByteTimeout counts
	fReadBy                       // a read deadline is set
	fOwed                         // the last read waits for the handler to resume
)

// fStopped are the reasons for which the handler gets no input.
const fStopped = fPaused | fSuspended | fBlocked | fClose | fFailed | fCloseRead

// The bounds of lingering; nginx's lingering_time and lingering_timeout, shorter.
const (
	lingerBytes   = 64 << 10
	lingerSilence = 2 * time.Second
	lingerTime    = 10 * time.Second
	lingerReads   = 64 // of what is left in a unix socket: 4 MiB, far more than the system lets one hold by default
)

// stopped says whether delivery has to stop, also in the middle of what one read brought.
func (c *Conn) stopped() bool { return c.flags&fStopped != 0 || c.phase != phaseOpen }

// continueLater has the unconsumed input delivered in the next turn.
func (c *Conn) continueLater() {
	c.flags |= fAgain
	c.later()
}

// touch sees to it that settle looks at the connection: at the end of the running step, or in the next turn.
func (c *Conn) touch() {
	if c.loop.cur != c {
		c.later()
	}
}

// later puts the connection on the list for the next turn.
func (c *Conn) later() {
	if c.flags&fTodo == 0 && c.phase < phaseLingering {
		c.flags |= fTodo
		c.loop.todo.add(c)
		c.loop.wake()
	}
}

// proceed is a step: the connection's turn on that list.
func (c *Conn) proceed() {
	again := c.flags&fAgain != 0
	c.flags &^= fTodo | fAgain
	c.flushUntried()
	if c.phase != phaseOpen {
		return
	}
	if c.unblock() || again {
		c.redeliver()
	}
	if c.flags&(fDrain|fClose|fFailed) == fDrain {
		c.flags &^= fDrain
		c.drain()
	}
	if c.flags&fOwed != 0 && c.mayRead() {
		c.lastRead()
	}
	if c.flags&fReadable != 0 {
		c.read()
	}
}

// unblock ends the state above the high-water mark, if output has fallen below the low-water mark.
func (c *Conn) unblock() bool {
	if c.flags&(fBlocked|fClose|fFailed) != fBlocked || c.phase != phaseOpen || !c.relieved() {
		return false
	}
	c.flags &^= fBlocked
	c.expectAgain()
	c.noteLasting(TraceResumed, int(StopHighWater), 0)
	c.handler.Writable(c)
	return true
}

// relieved says whether output is below the low-water mark.
func (c *Conn) relieved() bool {
	n := c.Unsent()
	return n == 0 || n < c.origin.opts.LowWater
}

// finish asks for a graceful close; the first cause stays.
func (c *Conn) finish(cause error) {
	if c.phase != phaseOpen || c.flags&fClose != 0 {
		return
	}
	c.flags |= fClose
	c.because(cause)
	c.cancelContext()
	c.touch()
}

// finishUnlessHeld is finish, after the last Hold has ended.
func (c *Conn) finishUnlessHeld(cause error) {
	if c.holds == 0 {
		c.finish(cause)
		return
	}
	c.flags |= fCloseHeld
	c.because(cause)
}

// fail asks for an immediate close and says whether it was the first to.
func (c *Conn) fail(cause error) bool {
	if c.phase >= phaseLingering || c.flags&fFailed != 0 {
		return false
	}
	c.flags |= fFailed
	if first := c.cause(); first != nil && first != io.EOF {
		cause = errors.Join(first, cause)
	}
	c.extra().cause = cause
	c.cancelContext()
	c.touch()
	return true
}

// because keeps the cause of a graceful close, the first but for io.EOF, after which work for a held connection may
// fail. io.EOF, the usual one, takes no memory.
func (c *Conn) because(cause error) {
	switch {
	case cause == nil || c.rare != nil && c.rare.cause != nil:
	case cause == io.EOF:
		c.flags |= fClean
	default:
		c.extra().cause = cause
	}
}

func (c *Conn) cause() error {
	switch {
	case c.rare != nil && c.rare.cause != nil:
		return c.rare.cause
	case c.flags&fClean != 0:
		return io.EOF
	}
	return nil
}

// settle ends every step: what was written is sent, and the state follows from what the step left.
func (c *Conn) settle() {
	c.flushGather()
	c.flushUntried()
	if c.flags == 0 && c.output == nil && c.interest == interestRead && c.phase == phaseOpen {
		return
	}
	if c.phase >= phaseLingering {
		return
	}
	if c.flags&fCloseHeld != 0 && c.holds == 0 {
		c.flags |= fClose
		c.cancelContext()
	}
	if c.flags&fCloseRead != 0 {
		c.dropInput()
	}
	if c.flags&fLastRead != 0 {
		c.settleShutdown()
	}
	if c.flags&fClose != 0 && c.phase == phaseOpen {
		c.phase = phaseDraining
		c.dropInput()
	}
	switch {
	case c.flags&fFailed != 0:
		c.end(c.cause())
		return
	case c.output != nil: // nothing ends before it has left
	case c.phase == phaseDraining:
		c.end(c.cause())
		return
	case c.flags&fCloseWrite != 0:
		c.shutWrite()
		if c.flags&fEOF != 0 {
			c.because(io.EOF)
			c.end(c.cause())
			return
		}
	}
	c.await()
}

// await has the connection looked at again: in the next turn if there is something to do already, and when the poller
// reports what it is to be watched for now.
func (c *Conn) await() {
	blockedNoMore := c.phase == phaseOpen && c.flags&fBlocked != 0 && c.relieved()
	lastReadIsDue := c.flags&fOwed != 0 && c.mayRead()
	someIsLeft := edgeTriggered && c.flags&fReadable != 0 && c.mayRead() // and of that there will be no second event
	if blockedNoMore || lastReadIsDue || someIsLeft {
		c.later()
	}
	want := c.wanted()
	if edgeTriggered && c.flags&fReadable != 0 && want == interestNone {
		c.probe() // nor a second event for an error behind what is not read
	}
	if c.watch(want); c.flags&fFailed != 0 {
		c.end(c.cause())
	}
}

// wanted returns what the connection is to be watched for.
func (c *Conn) wanted() interest {
	read := c.receives()
	switch {
	case read && c.output != nil:
		return interestBoth
	case read:
		return interestRead
	case c.output != nil:
		return interestWrite
	}
	return interestNone
}

// watch changes what the connection is watched for.
func (c *Conn) watch(to interest) {
	if to == c.interest {
		return
	}
	if err := c.loop.poller.set(int(c.fd), c.interest, to); err != nil {
		c.fail(err)
		return
	}
	c.note(TraceInterest, int(to), int(c.interest))
	c.interest = to
}

// open is a step: the accept func makes the handler.
func (c *Conn) open() {
	l := c.loop
	c.enter()
	if l.aborting {
		l.counts.TooLate++
		c.refuse()
		return
	}
	c.setUnixOptions()
	mark := l.mark()
	h, err := c.origin.accept(c)
	l.span(TraceOpen, c, mark, 0, 0)
	if err == nil && h == nil {
		err = errors.New("reactor: the accept func returned neither handler nor error")
		l.r.opts.Logger.Error(err.Error(), "origin", c.origin.String())
	}
	if err != nil {
		l.counts.Refusals++
		c.refuse()
		return
	}
	l.counts.Opens++
	c.handler = h
	c.startIdling()
	c.startSilence()
	if l.draining {
		c.flags |= fDrain
		c.later()
	}
}

// enter makes c one of its loop's connections.
func (c *Conn) enter() {
	c.loop.registry.add(c)
	c.loop.total++
}

// refuse closes a connection that has no handler.
func (c *Conn) refuse() {
	c.noteLasting(TraceRefuse, 0, 0)
	c.loop.gather = c.loop.gather[:0]
	c.dropOutput()
	c.cancelContext()
	c.forget()
	c.leave(false)
}

// shutWrite is the arrow OPEN --CloseWrite, flushed--> SHUT_WR.
func (c *Conn) shutWrite() {
	if c.flags&fShut == 0 {
		c.flags |= fShut
		c.noteLasting(TraceShut, 0, 0)
		shutdownWriting(int(c.fd))
	}
}

// end tells the handler that the connection is over, the last thing it hears, and closes the descriptor or lets it
// linger. The descriptor stays open until the handler has returned, so that its number names no other connection
// meanwhile.
func (c *Conn) end(cause error) {
	c.cancelContext()
	graceful := c.phase == phaseDraining && c.output == nil && c.flags&fFailed == 0
	c.dropInput()
	unsent := c.seal()
	if unsent > 0 {
		if cause == nil {
			cause = net.ErrClosed
		}
		cause = &UnsentError{Bytes: unsent, Cause: cause}
	}
	if c.output != nil {
		c.flags |= fReset // the peer shall not take a cut reply for a whole one
		c.dropOutput()
	}
	c.forget()
	linger := false
	if graceful && c.flags&fEOF == 0 {
		c.shutWrite()
		linger = c.linger()
	}
	defer c.leave(linger) // after the handler's Close, so that no more than MaxConns handlers live at a time
	h := c.handler
	c.handler = nil
	reason, mark := c.countClose(cause, unsent), c.loop.markLasting()
	h.Close(c, cause)
	c.loop.span(TraceClose, c, mark, int(reason), int(unsent))
}

// forget takes an open connection out of the indexes and counts.
func (c *Conn) forget() {
	l := c.loop
	c.phase = phaseClosed
	c.seal()
	c.leaveGroups()
	l.registry.removeTuple(c)
	l.deadlines.remove(c)
	if c.rare != nil {
		removeTimers(&c.rare.timers)
	}
	l.load.Add(-1)
}

// leave gives the connection's place under MaxConns back, and the descriptor unless it lingers.
func (c *Conn) leave(linger bool) {
	if !c.origin.dialled {
		c.loop.r.conns.Add(-1)
	}
	c.origin.limits.leave(c.tuple.Remote.Addr())
	if !linger {
		c.closeFD()
		return
	}
	c.loop.r.madeRoom()
	if edgeTriggered {
		c.readLinger() // there will be no second event for what is there
	}
}

// linger keeps the descriptor for reading what the peer still sends: closing a socket with unread input resets the
// connection and destroys replies on their way (RFC 1122, 4.2.2.13). The Conn itself is the record of it, without
// handler and buffers.
func (c *Conn) linger() bool {
	c.phase = phaseLingering
	if c.watch(interestRead); c.interest != interestRead {
		c.phase = phaseClosed
		return false
	}
	t := c.loop.clock.now()
	c.loop.lingering.Add(1)
	x := c.extra()
	x.lingerLeft, x.lingerEnd, x.progress = lingerBytes, t+int64(lingerTime), t
	c.loop.deadlines.set(c.loop, c, coarse(t+int64(lingerSilence), lingerSilence))
	return true
}

// readLinger receives and discards.
func (c *Conn) readLinger() {
	for more := true; more; {
		n, errno := recv(int(c.fd), c.loop.in)
		c.loop.counts.BytesDropped += uint64(max(n, 0))
		c.rare.lingerLeft -= n
		switch {
		case n > 0 && c.rare.lingerLeft > 0:
			c.rare.progress = c.loop.clock.now()
			more = edgeTriggered
		case n == 0 && (errno == unix.EAGAIN || errno == unix.EINTR):
			more = false
		default:
			if n > 0 && c.origin.network == "unix" {
				c.dropQueued()
			}
			c.endLinger()
			return
		}
	}
}

// dropQueued discards what a peer that goes on sending has in a unix socket. Closed with that unread, the peer would
// find a reset behind the replies; on TCP it finds the FIN.
func (c *Conn) dropQueued() {
	shutdownReading(int(c.fd)) // so that there comes no more
	for range lingerReads {
		n, errno := recv(int(c.fd), c.loop.in)
		c.loop.counts.BytesDropped += uint64(max(n, 0))
		if n <= 0 && errno != unix.EINTR {
			return
		}
	}
}

// lingerOn is readLinger for who may linger no more.
func (c *Conn) lingerOn(error) {
	if c.phase == phaseLingering {
		c.readLinger()
	}
}

func (c *Conn) endLinger() {
	c.phase = phaseClosed
	c.loop.lingering.Add(-1)
	c.loop.deadlines.remove(c)
	c.closeFD()
}

// closeFD gives the descriptor back. It is deregistered first: should someone have duplicated it, closing alone would
// leave its events.
func (c *Conn) closeFD() {
	l := c.loop
	if c.flags&fReset != 0 {
		resetOnClose(int(c.fd))
	}
	if c.interest != unregistered {
		_ = l.poller.set(int(c.fd), c.interest, unregistered)
		c.interest = unregistered
	}
	l.registry.removeFD(int(c.fd))
	closeSocket(int(c.fd))
	if l.total--; l.total == 0 && l.draining {
		l.wake()
	}
	l.r.madeRoom()
}

// crashed closes the connection whose step panicked or called Goexit. What the step wrote is dropped.
func (l *loop) crashed(value any) {
	c := l.cur
	l.counts.Panics++
	l.gather, l.delivering = l.gather[:0], nil
	failure := &PanicError{Value: value, Stack: debug.Stack()}
	l.r.opts.Logger.Error("reactor: handler panicked", "conn", c.tuple.String(), "id", c.id, "value", value, "stack", string(failure.Stack))
	if p := c.peer(); p != nil && p.session != nil {
		_ = p.session.close(failure)
	}
	if c.phase >= phaseLingering { // in Close; the descriptor was closed or lingers
		l.cur = nil
		return
	}
	if c.handler == nil {
		l.serve(c, (*Conn).refuse)
		return
	}
	c.flags &^= fFailed
	c.fail(failure)
	l.serve(c, func(*Conn) {})
}

// opError wraps a socket's error as package net does.
func (c *Conn) opError(op, call string, errno unix.Errno) error {
	network := c.origin.network
	e := &net.OpError{Op: op, Net: network, Err: os.NewSyscallError(call, errno)}
	if c.tuple != (FourTuple{}) {
		e.Source, e.Addr = net.TCPAddrFromAddrPort(c.tuple.Local), net.TCPAddrFromAddrPort(c.tuple.Remote)
	}
	return e
}
