// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package exchange

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/quartet-go/quartet/reactor"
)

// An Async asks one peer through one socket of a reactor, many requests at a time, and blocks nowhere: a function is
// told what came of each. Its methods may be called from any goroutine, handlers included.
type Async struct {
	opts     AsyncOptions
	inFlight atomic.Int64
	stats    counters

	mu    sync.Mutex
	ref   reactor.Ref // of the socket, once there is one
	early []*call     // asked before that
	err   error       // why nothing more can be asked

	// On the socket's loop only, see async_loop.go.
	socket  *reactor.PacketConn
	peer    net.Addr
	waiting map[string]*list.List // of calls: those in flight, by key, in the order in which they were asked
}

// counters are Stats that are read from anywhere.
type counters struct{ requests, tries, replies, unmatched, errors atomic.Uint64 }

// New makes an Async of a new socket of r that is connected to the address: see reactor.Reactor.DialPacket, whose
// networks and errors are its own. It does not wait for the look-up of a host's name, nor for Serve: until the socket
// is there requests wait, and their schedule begins then. If there can be no socket all of them are told why.
func New(r *reactor.Reactor, network, address string, o *AsyncOptions) (*Async, error) {
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	a := &Async{opts: opts, peer: name{network, address}, waiting: make(map[string]*list.List)}
	if err := r.DialPacket(network, address, (*onLoop)(a).dialed, &opts.Socket); err != nil {
		return nil, err
	}
	return a, nil
}

// Do sends a copy of payload as a request. nil means that done is called exactly once, later and on the socket's loop,
// where it must not block: with the reply, which is not nil and valid until done returns, or with the error that
// Client.Do would return. That is net.ErrClosed, wrapped, for what is in flight when Close, or the reactor's Shutdown,
// closes the socket. The end of ctx is noticed at once, but for two cases: while a name is looked up when that is over,
// and at the next try when the loop's mailbox is full. A panic in done is logged and harms no other request.
//
// Otherwise the error is ErrInFlight at MaxInFlight, reactor.ErrMailboxFull, net.ErrClosed after the socket's end, or why
// there is no socket; done is not called then.
func (a *Async) Do(ctx context.Context, payload []byte, done func(reply []byte, err error)) error {
	if done == nil {
		return errors.New("exchange: Do without a function")
	}
	key := string(a.opts.Key(payload)) // before it counts, for it may panic
	err := ErrInFlight
	if a.inFlight.Add(1) <= int64(a.opts.MaxInFlight) {
		q := request{opts: &a.opts.Options, payload: bytes.Clone(payload)}
		err = a.give(&call{request: q, key: key, ctx: ctx, done: done})
	}
	if err != nil {
		a.inFlight.Add(-1)
	}
	return err
}

// give hands c to the loop, or keeps it until there is one.
func (a *Async) give(c *call) error {
	a.mu.Lock()
	ref, err := a.ref, a.err
	if err == nil && ref == (reactor.Ref{}) {
		a.early = append(a.early, c)
		a.mu.Unlock()
		return nil
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return ref.Do(func(_ *reactor.Conn, err error) { (*onLoop)(a).begin(c, err) })
}

// InFlight returns how many requests were taken by Do and not yet told what came of them.
func (a *Async) InFlight() int { return int(a.inFlight.Load()) }

// Stats returns the counters. Foreign is zero.
func (a *Async) Stats() Stats {
	return Stats{
		Requests:  a.stats.requests.Load(),
		Tries:     a.stats.tries.Load(),
		Replies:   a.stats.replies.Load(),
		Unmatched: a.stats.unmatched.Load(),
		Errors:    a.stats.errors.Load(),
	}
}

// Close has the loop close the socket and end what is in flight; it does not wait for that. The error is net.ErrClosed
// once the socket is closed, or reactor.ErrMailboxFull if the loop cannot be asked now.
func (a *Async) Close() error {
	a.mu.Lock()
	ref := a.ref
	if ref == (reactor.Ref{}) {
		defer a.mu.Unlock()
		if a.err != nil {
			return net.ErrClosed
		}
		a.err = net.ErrClosed // which dialed will find
		return nil
	}
	a.mu.Unlock()
	return ref.Close()
}

// A name is an address that is not looked up yet.
type name struct{ network, address string }

func (n name) Network() string { return n.network }
func (n name) String() string  { return n.address }
