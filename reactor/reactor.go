// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"hash/maphash"
	"iter"
	"net"
	"sync"
	"sync/atomic"
)

// A Reactor is a number of event loops and what they serve. Its methods may be called from any goroutine, handlers
// included, but for those that wait for the loops: Serve, Shutdown and Close answer ErrOnLoop there.
type Reactor struct {
	opts  Options
	loops []*loop

	conns      atomic.Int64 // accepted and open, or about to be
	dials      atomic.Int64 // in progress
	places     sync.Mutex   // held while accepting under a MaxConns
	starved    atomic.Int32 // listening sockets that stopped accepting
	acceptors  atomic.Int32 // listening sockets not closed yet
	stacksDue  atomic.Int64 // by stopwatch, when a watchdog may next look at a stack
	buffered   atomic.Int64 // see pressure.go
	pressed    atomic.Bool
	shedding   atomic.Bool
	aborted    atomic.Int64 // connections that Shutdown's or Close's patience did not outlast
	abortCause atomic.Pointer[cause]
	sequence   atomic.Uint64 // of connection IDs
	resolver   resolver
	listening  listing
	traces     atomic.Int32 // that record

	mu       sync.Mutex
	started  bool // the loops run, or ran
	serving  bool // Serve was called
	stopping bool // Shutdown or Close was called
}

// New makes a reactor. It opens descriptors (two pollers' worth and a wake-up each loop), which Serve's end, Shutdown
// or Close give back.
func New(o Options) (*Reactor, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	r := &Reactor{opts: o}
	seed := maphash.MakeSeed()
	for i := range o.Loops {
		l := &loop{
			r: r, index: i, done: make(chan struct{}),
			mailbox:  mailbox{limit: o.MailboxLimit},
			registry: registry{seed: seed},
			dials:    dials{lines: make(map[int]*line)},
			peers:    peers{registry: registry{seed: seed}},
			in:       make([]byte, headroom+readSize),
			gather:   make([]byte, 0, gatherSize),
		}
		l.clock = &wallClock{timeIsUp: l.timeIsUp}
		l.mailbox.timed = o.Measure
		l.observed = l.observes()
		l.watchdog.prepare(l)
		if err := l.openPoller(); err != nil {
			for _, opened := range r.loops {
				opened.waker.close()
				_ = opened.poller.close()
			}
			return nil, err
		}
		r.loops = append(r.loops, l)
	}
	return r, nil
}

// openPoller opens the loop's poller and its wake-up descriptor.
func (l *loop) openPoller() (err error) {
	if l.poller, err = openPoller(l.dispatch); err != nil {
		return err
	}
	if l.waker, err = openWaker(); err != nil {
		_ = l.poller.close()
		return err
	}
	if err = l.poller.watchWaker(l.waker.fd); err != nil {
		l.waker.close()
		_ = l.poller.close()
	}
	return err
}

// Serve runs the loops until ctx is done and then drains as Shutdown does, for at most DrainTimeout. It returns what
// Shutdown returned, its own call or another: nil if every connection came to its end. A second Serve returns
// ErrServing, one after Shutdown or Close net.ErrClosed.
func (r *Reactor) Serve(ctx context.Context) error {
	if r.onLoop() {
		return ErrOnLoop
	}
	r.mu.Lock()
	switch {
	case r.stopping:
		r.mu.Unlock()
		return net.ErrClosed
	case r.serving:
		r.mu.Unlock()
		return ErrServing
	}
	r.serving = true
	r.start()
	r.mu.Unlock()

	if r.ended(ctx) {
		return r.outcome()
	}
	drain, cancel := context.Background(), context.CancelFunc(func() {})
	if r.opts.DrainTimeout > 0 {
		drain, cancel = context.WithTimeout(drain, r.opts.DrainTimeout)
	}
	defer cancel()
	return r.Shutdown(drain)
}

// start runs the loops, once. r.mu is held.
func (r *Reactor) start() {
	if r.started {
		return
	}
	r.started = true
	for _, l := range r.loops {
		go l.run()
	}
}

// beginShutdown says whether the caller is the first to stop the reactor. The loops of one that never served are
// started, since they know best how to end.
func (r *Reactor) beginShutdown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return false
	}
	r.stopping = true
	r.start()
	return true
}

// NumConns returns how many accepted connections are open, those included that are on their way to their loop or still
// in their handler's Close; not those that only linger, and none that was dialled or adopted.
func (r *Reactor) NumConns() int { return int(r.conns.Load()) }

// Lookup finds the open connection with that 4-tuple; if there is none, the Session or the socket of DialPacket.
func (r *Reactor) Lookup(t FourTuple) (Ref, bool) {
	return r.find(func(g *registry) *Conn { return g.lookup(t) })
}

// find looks into the registries: connections first, then peers.
func (r *Reactor) find(look func(g *registry) *Conn) (Ref, bool) {
	for _, l := range r.loops {
		if c := look(&l.registry); c != nil {
			return Ref{c}, true
		}
	}
	for _, l := range r.loops {
		if c := look(&l.peers.registry); c != nil {
			return Ref{c}, true
		}
	}
	return Ref{}, false
}

// A connection's ID is its place in the order of acceptance, above the number of its descriptor, by which it is found
// without an index; a peer's, above a number that stands for it.
const fdBits = 24

// ByID finds the open connection, Session or socket of DialPacket with that ID.
func (r *Reactor) ByID(id uint64) (Ref, bool) {
	return r.find(func(g *registry) *Conn { return g.find(int(id&(1<<fdBits-1)), id) })
}

// Conns yields the open connections, Sessions and sockets of DialPacket, loop after loop. Those of a loop are taken
// down at one moment; a connection may have ended when it is yielded.
func (r *Reactor) Conns() iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for _, l := range r.loops {
			for _, c := range l.peers.snapshot(l.registry.snapshot(nil)) {
				if !yield(Ref{c}) {
					return
				}
			}
		}
	}
}
