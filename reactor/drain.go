// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"fmt"
	"net"
	"time"
)

// stuckAfter is how long Shutdown waits, beyond its context, for a loop that ends nothing in the meantime.
const stuckAfter = 2 * time.Second

// Shutdown stops the reactor gently. What waits in the backlogs is accepted, at AcceptRate, and at MaxConns or
// without descriptors as connections that end make room, and the listeners are closed; handlers that are Drainers are
// told; dials in progress fail. A connection with nothing unconsumed, unsent or held is read once more, what came is
// served, and it closes; from then on nothing is read. The others finish first: output is sent, held ones are
// released, half-closed ones are closed by their handlers, paused ones that hold input are resumed. A paused one for
// which something waits in the socket, bytes or the peer's end, is read once more when it is resumed. One that stopped in
// the middle of its input closes with ErrShutdown, for the rest is not read. When ctx is done before them, what is left
// is aborted with ErrShutdown and Shutdown returns an *AbortedError; connections that only linger do not count. Idle
// ones need no time: they close though ctx is done already.
//
// When Shutdown returns, every Close has been called and no goroutine, descriptor or timer is left, unless the error
// says that a loop is stuck in a handler. Called on a loop it returns ErrOnLoop and does nothing. It may be called
// again; calls wait for the same end.
func (r *Reactor) Shutdown(ctx context.Context) error {
	if r.onLoop() {
		return ErrOnLoop
	}
	if r.beginShutdown() {
		for _, l := range r.loops {
			_ = l.postLoop(l.drain)
		}
	}
	return r.awaitLoops(ctx)
}

// Close stops the reactor at once: connections are aborted with ErrShutdown. What Shutdown says of its return holds.
func (r *Reactor) Close() error {
	if r.onLoop() {
		return ErrOnLoop
	}
	r.beginShutdown()
	r.abortBecause(net.ErrClosed)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := r.awaitLoops(ctx)
	if _, aborted := err.(*AbortedError); aborted {
		return nil // as was asked for
	}
	return err
}

// awaitLoops waits for the loops to end, and makes them when ctx is done.
func (r *Reactor) awaitLoops(ctx context.Context) error {
	if r.ended(ctx) {
		return r.outcome()
	}
	return r.abort(ctx)
}

// ended waits for the loops to end and says whether they did before ctx was done.
func (r *Reactor) ended(ctx context.Context) bool {
	for _, l := range r.loops {
		select {
		case <-l.done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (r *Reactor) abort(ctx context.Context) error {
	r.abortBecause(context.Cause(ctx))
	for _, l := range r.loops {
		_ = l.postLoop(l.abortAll)
	}
	for _, l := range r.loops {
		if !l.awaitEnd() {
			return fmt.Errorf("reactor: loop %d is stuck in a handler: %w", l.index, context.Cause(ctx))
		}
	}
	return r.outcome()
}

// awaitEnd waits for the loop to end and says whether it did, or is stuck. One with many connections may be at it for
// long, or have little of the CPU: as long as it has less left each time, it gets on.
func (l *loop) awaitEnd() bool {
	patience := time.NewTicker(stuckAfter)
	defer patience.Stop()
	conns, tasks := l.load.Load(), l.mailbox.length()
	for {
		select {
		case <-l.done:
			return true
		case <-patience.C:
		}
		connsLeft, tasksLeft := l.load.Load(), l.mailbox.length()
		if connsLeft >= conns && tasksLeft >= tasks {
			return false
		}
		conns, tasks = connsLeft, tasksLeft
	}
}

// outcome is the same for everyone who waited for the end.
func (r *Reactor) outcome() error {
	if n := r.aborted.Load(); n > 0 {
		return &AbortedError{Conns: int(n), Cause: r.abortCause.Load().error}
	}
	return nil
}

// cause is an error that an atomic.Pointer can point to.
type cause struct{ error }

// abortBecause keeps the first reason there was for aborting connections.
func (r *Reactor) abortBecause(err error) { r.abortCause.CompareAndSwap(nil, &cause{err}) }

// drain begins the loop's part of Shutdown.
func (l *loop) drain() {
	l.draining = true
	for _, c := range l.registry.byFD {
		if c != nil && c.phase == phaseOpen {
			c.flags |= fDrain
			c.later()
		}
	}
	l.stopDials()
	for _, s := range l.sources {
		_ = l.postLoop(s.drain) // a task each: handlers may end the goroutine
	}
}

// abortAll is the loop's part of Close, and of Shutdown when its patience is over.
func (l *loop) abortAll() {
	if l.draining && !l.aborting {
		l.aborting = true
		_ = l.postLoop(l.abortAll) // a turn later: those whom drain may have told only now close first
		return
	}
	l.draining, l.aborting = true, true
	for _, s := range l.sources {
		_ = l.postLoop(s.closeFD) // a task each, as in drain
	}
	l.stopDials()
	for _, c := range l.registry.byFD {
		switch {
		case c == nil:
		case c.phase == phaseLingering:
			c.endLinger()
		case c.fail(ErrShutdown):
			l.r.aborted.Add(1)
			c.flags |= fReset
		}
	}
}

// drain tells the handler that Shutdown has begun and reads once more, if the connection waits for nothing else.
func (c *Conn) drain() {
	idle := c.output == nil && c.input == nil && c.holds == 0
	if d, ok := c.handler.(Drainer); ok {
		d.Draining(c)
	}
	switch c.flags &^= fParked; {
	case idle && c.mayRead():
		c.lastRead()
	case idle && c.flags&(fClose|fFailed|fEOF) == 0 && c.flags&(fPaused|fSuspended) != 0 && readable(int(c.fd)):
		c.flags |= fOwed
	default:
		c.flags |= fLastRead
	}
}

// lastRead is a read, also over MaxBuffered: it is the last time.
func (c *Conn) lastRead() {
	c.receive()
	c.flags = c.flags&^fOwed | fLastRead
}

// settleShutdown closes a connection that has finished, once nothing more is read.
func (c *Conn) settleShutdown() {
	busy := c.output != nil || c.holds > 0 || c.flags&(fEOF|fAgain|fBlocked|fCloseHeld) != 0
	switch {
	case c.phase != phaseOpen || busy || c.flags&(fClose|fFailed) != 0:
	case c.input == nil:
		c.finish(nil)
	case c.flags&(fPaused|fSuspended) == 0:
		c.finish(ErrShutdown)
	}
}
