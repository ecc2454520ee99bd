// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
)

// The bounds of one loop's turn and of its buffers.
const (
	maxTasksPerTurn = 256       // tasks run for one wake-up before I/O has its turn
	maxDuePerTurn   = 1024      // connections and timers whose time has come, the same
	writesPerTask   = 16        // posted writes that count as one of them: they are queued, and leave together
	readSize        = 64 << 10  // bytes read for one readiness event
	largeRead       = 128 << 10 // bytes read for one of a frame that needs as many, straight into its own buffer
	headroom        = 4 << 10   // a leftover up to this size is put in front of what is read, see Conn.read
	gatherSize      = 64 << 10  // written bytes that gather before they are sent
	maxParts        = 64        // parts of one gathering write; IOV_MAX is 1024 on all systems here
)

// A source is a descriptor of a loop that is no connection: a listening or a datagram socket. All on its loop. A
// closed source does nothing: tasks may come late.
type source interface {
	descriptor() int
	ready()     // something may be there to accept or receive
	retry()     // try again what failed for want of descriptors or memory
	drain()     // serve what waits and close
	closeFD()   // close and leave the loop's sources
	open()      // begin to be served
	due() int64 // when retry is to be called at the latest, 0 for never
}

// A loop is one goroutine with a poller, its connections, its timers and its mailbox. Fields and methods belong to that
// goroutine, but for those under "shared".
type loop struct {
	// Shared: any goroutine.
	r         *Reactor
	index     int
	mailbox   mailbox
	registry  registry
	peers     peers
	waker     waker
	ringing   atomic.Bool   // the waker is readable, or about to be
	rung      atomic.Bool   // the clock has
	room      atomic.Bool   // a descriptor or a place under MaxConns may have come free
	load      atomic.Int32  // connections handed to this loop and not ended, dials included
	lingering atomic.Int32  // connections that only linger
	goid      atomic.Uint64 // the loop's goroutine
	done      chan struct{} // closed when the loop has ended
	question  question      // of Stats
	watchdog  watchdog

	// The loop's own.
	poller    *poller
	sources   []source
	clock     clock // now may be asked by any goroutine
	deadlines deadlines
	in        []byte // headroom and room for one read
	gather    []byte // output of cur that has not been sent
	gatherer  gatherer
	rawAddr   rawAddr
	parts     [maxParts][]byte
	packets   *packets   // of the loop's packet sockets, nil until there is one
	giving    *groupPart // a group's, which gives its members what it has for them
	counts    loopCounts
	observed  bool         // events go through dispatchTimed
	rings     []*traceRing // of the traces that record
	lasting   []*traceRing // of those that record only what lasts
	tracing   TraceEvent   // that is being recorded
	timed     timedEvent

	cur        *Conn  // whose step is running
	event      event  // what the poller said of cur
	task       task   // what cur was asked to do
	delivering []byte // what cur's Data is looking at
	delivered  int    // bytes of it that were frames
	completed  bool   // the running step came to its end, neither panic nor Goexit ended it

	dials  dials
	todo   workList // connections to look at in the next turn
	parked []*Conn  // connections that had input while the reactor was over MaxBuffered
	total  int      // connections open or lingering

	draining bool  // Shutdown has begun
	aborting bool  // and its patience is over
	stopped  bool  // the poller was left for good
	failure  error // with this
	ended    bool  // everything is closed
}

// An event is what the poller told of a descriptor: hints.
type event struct{ read, write, trouble bool }

func (l *loop) run() {
	defer l.left()
	l.goid.Store(goroutineID())
	if !l.stopped {
		l.failure = l.poller.run()
		l.stopped = true
	}
	l.end()
	l.ended = true
}

// dispatch is called by the poller for each event.
func (l *loop) dispatch(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
	l.counts.Events++
	if l.observed {
		return l.dispatchTimed(fd, ev, flags)
	}
	return l.react(fd, ev, flags)
}

// react does what an event asks for. A connection's readiness is read, handle, flush: see Conn.ready.
func (l *loop) react(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
	if c := l.registry.at(fd); c != nil {
		l.event = event{netpoll.IsReadEvent(ev), netpoll.IsWriteEvent(ev), netpoll.IsErrorEvent(ev, flags)}
		l.serve(c, (*Conn).ready)
		return nil
	}
	if fd == l.waker.fd {
		return l.turn()
	}
	if l.dials.ready(fd) {
		return nil
	}
	for _, s := range l.sources {
		if s.descriptor() == fd {
			s.ready()
			break
		}
	}
	return nil
}

// turn is what a wake-up is for: the mailbox, connections to look at, due timers. It does a bounded amount and wakes
// itself while work remains, so that work never starves I/O. What comes while it runs rings again, for the stage it
// is for may be over.
func (l *loop) turn() error {
	l.counts.Turns++
	l.waker.silence()
	l.ringing.Store(false)
	l.runTasks()
	l.runTodo()
	l.runTimers()
	l.unpark()
	l.retrySources()
	if l.finished() {
		l.mailbox.close() // or tasks that post tasks would go on for ever
		if !l.ringing.Swap(true) {
			return stopPolling{} // and nobody rings any more; who did before has the loop come back once
		}
	}
	if l.mailbox.waiting() || l.todo.waiting() {
		l.wake()
	}
	return nil
}

// serve runs one step of one connection. It is the only place from which handlers are entered, where what they wrote
// is sent and where their panics end.
func (l *loop) serve(c *Conn, step func(*Conn)) {
	l.cur, l.completed = c, false
	defer l.served()
	step(c)
	c.settle()
	l.completed = true
}

// served ends serve, however it ended.
func (l *loop) served() {
	if l.completed {
		l.cur = nil
		return
	}
	value := recover()
	if value == nil {
		value = ErrGoexit // run's deferred left starts a new goroutine
	}
	l.crashed(value)
}

// guard calls a function of the user's that belongs to no connection. Its panic is logged and ends here.
func (l *loop) guard(what string, fn func()) {
	completed := false
	defer func() {
		if completed {
			return
		}
		value := recover()
		if value == nil {
			value = ErrGoexit // run's deferred left starts a new goroutine
		}
		l.counts.Panics++
		l.r.opts.Logger.Error("reactor: "+what+" panicked", "value", value, "stack", string(debug.Stack()))
	}()
	fn()
	completed = true
}

// left is where Goexit ends: the goroutine is gone, the loop goes on in another.
func (l *loop) left() {
	if l.ended {
		close(l.done)
		return
	}
	l.finishTimed()
	// The rest of the batch of events is lost. The level-triggered ones come again by themselves, the others when
	// armed anew.
	for fd, c := range l.registry.byFD {
		switch {
		case c == nil:
		case edgeTriggered && c.phase == phaseLingering:
			_ = l.post(task{op: opDo, c: c, fn: (*Conn).lingerOn}, true)
		case edgeTriggered:
			c.flags |= fReadable | fUntried
			c.later()
		case c.interest == interestNone:
			if err := l.poller.set(fd, interestNone, interestNone); err != nil {
				c.fail(err)
			}
		}
	}
	for fd := range l.dials.lines {
		_ = l.postLoop(func() { l.dials.ready(fd) })
	}
	for _, s := range l.sources {
		_ = l.postLoop(s.ready)
	}
	l.deadlines.armed = 1 // nor may runTimers, which arms for the next
	l.rung.Store(true)
	l.wake() // nor the turn
	go l.run()
}

// wake makes the loop take a turn. Any goroutine.
func (l *loop) wake() {
	if !l.ringing.Load() && !l.ringing.Swap(true) {
		l.waker.ring()
	}
}

// post hands t to the loop. Any goroutine.
func (l *loop) post(t task, own bool) error {
	if err := l.mailbox.put(t, own); err != nil {
		return err
	}
	l.wake()
	return nil
}

// postLoop runs fn on the loop; never refused while the loop lives. Any goroutine.
func (l *loop) postLoop(fn func()) error {
	return l.post(task{op: opLoop, fn: func(*Conn, error) { fn() }}, true)
}

func (l *loop) runTasks() {
	defer l.flushPosted()
	fresh := true
	for budget := maxTasksPerTurn * writesPerTask; budget > 0; fresh = false {
		t, ok := l.mailbox.take(fresh)
		if !ok {
			return
		}
		if budget--; t.op != opWrite {
			budget -= writesPerTask - 1
		}
		l.counts.Tasks++
		mark := l.mark()
		switch t.op {
		case opLoop:
			t.fn(nil, nil)
		case opWrite:
			t.c.posted(t.out)
		default:
			l.task = t
			l.serve(t.c, (*Conn).runTask)
		}
		l.span(TraceTask, t.c, mark, 0, 0)
	}
}

func (l *loop) runTodo() {
	l.todo.begin()
	for c := l.todo.take(); c != nil; c = l.todo.take() {
		l.serve(c, (*Conn).proceed)
	}
}

// retrySources lets listeners accept again that stopped for want of room.
func (l *loop) retrySources() {
	if l.room.Load() && l.room.Swap(false) {
		for _, s := range slices.Clone(l.sources) {
			if s.due() != 0 {
				s.retry()
			}
		}
	}
}

// removeSource says whether s was one of the loop's sources, and removes it.
func (l *loop) removeSource(s source) bool {
	i := slices.Index(l.sources, s)
	if i >= 0 {
		l.sources = slices.Delete(l.sources, i, i+1)
	}
	return i >= 0
}

// finished says whether a draining loop has nothing more to do.
func (l *loop) finished() bool {
	return l.draining && l.total == 0 && l.load.Load() == 0 && l.r.acceptors.Load() == 0
}

// end closes what the loop holds. Connections are left only if the poller failed. Should a function given to Ref.Do
// call Goexit, it is called again.
func (l *loop) end() {
	if l.failure != error(stopPolling{}) && l.total > 0 {
		l.r.opts.Logger.Error("reactor: the poller failed", "loop", l.index, "err", l.failure)
		l.r.abortBecause(l.failure)
		l.abortAll()
		for l.todo.waiting() {
			l.runTodo()
		}
	}
	l.mailbox.close()
	for {
		t, ok := l.mailbox.take(true)
		if !ok {
			break
		}
		switch t.op {
		case opDo:
			l.task = t
			l.serve(t.c, (*Conn).runTask)
		case opWrite:
			t.c.posted(t.out)
		case opOpen:
			t.c.enter()
			t.c.refuse()
		case opLoop:
			t.fn(nil, net.ErrClosed)
		}
	}
	for len(l.dials.heap) > 0 {
		l.dials.heap[0].fail(net.ErrClosed)
	}
	l.flushPosted()
	for _, s := range slices.Clone(l.sources) {
		s.closeFD()
	}
	l.clock.stop()
	l.deadlines = deadlines{}
	l.watchdog.stop()
	l.registry.clear()
	l.peers.clear()
	if l.failure != error(stopPolling{}) && l.ringing.Swap(true) {
		l.waker.await() // whoever found the loop alive is about to ring
	}
	l.waker.close()
	_ = l.poller.close()
}

// A workList holds connections to be looked at in the next turn, each at most once (fTodo).
type workList struct {
	next, running []*Conn
	done          int
}

func (w *workList) add(c *Conn) { w.next = append(w.next, c) }

// begin makes what has gathered the running batch, unless Goexit left one unfinished.
func (w *workList) begin() {
	if w.done == len(w.running) {
		w.running, w.next, w.done = w.next, w.running[:0], 0
	}
}

// take returns the next of the batch, or nil.
func (w *workList) take() *Conn {
	if w.done == len(w.running) {
		return nil
	}
	c := w.running[w.done]
	w.running[w.done] = nil
	w.done++
	return c
}

func (w *workList) waiting() bool { return w.done < len(w.running) || len(w.next) > 0 }
