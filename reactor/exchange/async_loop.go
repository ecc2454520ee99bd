// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package exchange

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// onLoop is an Async as its socket's handler. All on the socket's loop. Each done is the last thing that a call by the
// reactor does, which contains its panic and Goexit; endAll, which calls many, goes on after them.
type onLoop Async

// A call is a request in flight.
type call struct {
	request
	key     string
	place   *list.Element // among those of the same key
	ctx     context.Context
	done    func(reply []byte, err error)
	timer   *reactor.Timer // to the next try; nil before the first
	release func() bool    // of ctx
	told    bool           // done was called, or is about to be
}

// dialed begins what was asked before there was a socket, or ends it if there will be none.
func (a *onLoop) dialed(s *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
	a.mu.Lock()
	if err == nil {
		err = a.err // Close came first
	}
	if a.err = err; err == nil {
		a.socket, a.ref, a.peer = s, s.Ref(), net.UDPAddrFromAddrPort(s.RemoteAddr())
	}
	early := a.early
	a.early = nil
	a.mu.Unlock()
	for _, c := range early {
		a.enter(c)
		if err == nil {
			a.tryAfter(c, 0) // not here: a panic in a done would cost the socket
		}
	}
	a.endAll(err)
	return a, err
}

// begin takes a request in. Without a socket it has ended already.
func (a *onLoop) begin(c *call, err error) {
	a.enter(c)
	if err != nil {
		a.tell(c, nil, c.ended(net.ErrClosed))
		return
	}
	a.try(c)
}

// enter makes c one of those in flight.
func (a *onLoop) enter(c *call) {
	a.stats.requests.Add(1)
	c.peer = a.peer
	asked := a.waiting[c.key]
	if asked == nil {
		asked = list.New()
		a.waiting[c.key] = asked
	}
	c.place = asked.PushBack(c)
	ref := a.ref
	c.release = context.AfterFunc(c.ctx, func() {
		_ = ref.Do(func(*reactor.Conn, error) { // if it fails the next try sees to it
			if !c.told {
				a.tell(c, nil, c.abandoned(context.Cause(c.ctx)))
			}
		})
	})
}

// try makes the first try or, since nothing came, another.
func (a *onLoop) try(c *call) {
	if c.ctx.Err() != nil {
		a.tell(c, nil, c.abandoned(context.Cause(c.ctx)))
		return
	}
	wait, err := c.next()
	if err != nil {
		a.tell(c, nil, err)
		return
	}
	a.stats.tries.Add(1)
	if _, err := a.socket.Write(c.payload); err != nil {
		a.stats.errors.Add(1)
		c.last = err
		if err := c.unsent(err); err != nil && !errors.Is(err, reactor.ErrOverflow) { // of Socket.MaxQueued, which passes
			a.tell(c, nil, err)
			return
		}
	}
	a.tryAfter(c, wait)
}

// tryAfter has the next try made unless the reply comes first.
func (a *onLoop) tryAfter(c *call, wait time.Duration) {
	if c.timer != nil {
		c.timer.Reset(wait)
		return
	}
	c.timer = a.socket.AfterFunc(wait, func(*reactor.PacketConn) { a.try(c) })
}

// Datagram finds the request to which d is the reply.
func (a *onLoop) Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	if c := a.awaits(d); c != nil {
		a.stats.replies.Add(1)
		a.tell(c, d.Payload, nil)
		return
	}
	a.stats.unmatched.Add(1)
}

// awaits returns the first request that d answers, or nil.
func (a *onLoop) awaits(d *reactor.Datagram) *call {
	asked := a.waiting[string(a.opts.Key(d.Payload))]
	if asked == nil || d.Truncated {
		return nil
	}
	for e := asked.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*call); c.answeredBy(d.Payload) {
			return c
		}
	}
	return nil
}

// SendError notes what may be about any of the requests.
func (a *onLoop) SendError(_ *reactor.PacketConn, _ netip.AddrPort, err error) {
	a.stats.errors.Add(1)
	for _, asked := range a.waiting {
		for e := asked.Front(); e != nil; e = e.Next() {
			e.Value.(*call).last = err
		}
	}
}

// Close ends all requests.
func (a *onLoop) Close(_ *reactor.PacketConn, err error) {
	cause := net.ErrClosed
	if err != nil {
		cause = fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	a.mu.Lock()
	a.err = net.ErrClosed
	a.mu.Unlock()
	a.endAll(cause)
}

// endAll ends all requests if there is a cause, also if a done panics or ends the goroutine.
func (a *onLoop) endAll(cause error) {
	if cause == nil || len(a.waiting) == 0 {
		return
	}
	defer a.endAll(cause) // who is left, if a done did not return; else nobody
	for _, asked := range a.waiting {
		for asked.Len() > 0 {
			c := asked.Front().Value.(*call)
			a.tell(c, nil, c.ended(cause))
		}
	}
}

// tell ends c.
func (a *onLoop) tell(c *call, reply []byte, err error) {
	c.told = true
	asked := a.waiting[c.key]
	asked.Remove(c.place)
	if asked.Len() == 0 {
		delete(a.waiting, c.key)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.release()
	a.inFlight.Add(-1) // so that done may ask again at the limit
	c.done(reply, err)
}
