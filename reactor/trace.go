// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// DefaultTraceEvents is how many events a trace keeps of each loop.
const DefaultTraceEvents = 1 << 14

const (
	maxTraceEvents = 1 << 24 // of each loop, 2 GiB of them
	maxTraces      = 8       // at a time
)

// TraceOptions configures a Trace. The zero value is ready for use.
type TraceOptions struct {
	// Events bounds how many events are kept of each loop, at 128 bytes each; the oldest are overwritten. 0 means
	// 16384; at most 16777216.
	Events int

	// Filter says which events are kept; nil means all. It runs on the loops, for each event, and must be quick; it must
	// not keep e. FilterTuple makes one.
	Filter func(e *TraceEvent) bool

	// Burst, if not 0, is how many events each loop records until Trace.Refill is called, so that who watches a busy reactor
	// can bound what that costs. Past it the loop records only what lasts, which is TraceAccept, TraceRefuse, TraceStopped,
	// TraceResumed, TraceEOF, TraceShut and TraceClose, Burst of them at most, and pays for nothing else. 0 means no bound;
	// at most 16777216.
	Burst int
}

// FilterTuple keeps the events of one connection.
func FilterTuple(t FourTuple) func(e *TraceEvent) bool {
	return func(e *TraceEvent) bool { return e.Tuple == t }
}

// A TraceKind is what a TraceEvent tells. The kinds that have a Duration are spans; what a loop does inside one lies
// within its time.
type TraceKind uint8

// The kinds, with the meaning of N and Of.
const (
	TraceReady      TraceKind = iota // span: the poller reported a connection; N is a sum of TraceReadable and following
	TraceTurn                        // span: the loop's wake-up: mailbox, connections to look at again, timers
	TraceSource                      // span: a listening or datagram socket was reported
	TraceTask                        // span: a task of the mailbox ran
	TraceTimer                       // span: a connection's deadline had come, or a timer
	TraceAccept                      // span: a listening socket accepted the connection, on its own loop
	TraceOpen                        // span: the accept func ran
	TraceData                        // span: the handler's Data, which consumed N of Of bytes
	TraceFrame                       // span: the frame handler's Frame, with a payload of N bytes in a frame of Of
	TraceClose                       // span: the handler's Close; N is the CloseReason, Of the bytes unsent
	TraceRefuse                      // the connection was refused
	TraceRead                        // N bytes were received, of Of for which there was room
	TraceReadAgain                   // there was nothing to receive (EAGAIN)
	TracePartial                     // the input ends inside a frame: N bytes are there, Of are needed to go on
	TraceWrite                       // the kernel took N of Of bytes
	TraceWriteAgain                  // the kernel took none of Of bytes (EAGAIN)
	TraceInterest                    // what the connection is watched for changed; String names it
	TraceStopped                     // delivery and reading stop; N is the StopReason, Of the bytes unsent
	TraceResumed                     // the reason N is over
	TraceEOF                         // the peer has shut down its writing half
	TraceShut                        // the writing half was shut down
	TraceDatagrams                   // span: N datagrams were received together, of at most Of; not their handling
	TraceGap                         // span: the Burst of the trace was used up, so only what lasts was recorded

	traceKinds
)

var traceKindNames = [traceKinds]string{
	"ready", "turn", "socket", "task", "timer", "accept", "open", "data", "frame", "close", "refuse", "read", "read again",
	"partial frame", "write", "write again", "interest", "stopped", "resumed", "eof", "shut", "datagrams", "gap",
}

// String returns a name of lower-case words.
func (k TraceKind) String() string {
	if k < traceKinds {
		return traceKindNames[k]
	}
	return "unknown"
}

// The parts of N in a TraceReady event.
const (
	TraceReadable = 1 << iota
	TraceWritable
	TraceTrouble // a hang-up or an error
)

// A StopReason is why a connection's input is neither delivered nor read for a while.
type StopReason uint8

// The reasons.
const (
	StopPaused    StopReason = iota // Conn.Pause
	StopHighWater                   // output is above the high-water mark
	StopPressure                    // the reactor is over MaxBuffered
)

// String returns a few words.
func (r StopReason) String() string {
	switch r {
	case StopPaused:
		return "paused"
	case StopHighWater:
		return "output above high water"
	case StopPressure:
		return "reactor over its buffer limit"
	}
	return "unknown"
}

// A TraceEvent is one thing that a loop did.
type TraceEvent struct {
	Seq      uint64        // its number among the events of its loop that the trace kept, from 0
	Loop     int           // the loop's number
	Kind     TraceKind     // what it was
	At       time.Duration // when it was or began, since the trace's Start
	Duration time.Duration // of a span; at least 1 ns. 0 for all else
	Conn     uint64        // the connection's ID, 0 if it is about none
	Tuple    FourTuple     // the connection's
	N, Of    int           // see TraceKind
}

// A Trace records what the loops do, as a ring of events for each. It costs the loops some 100 ns an event, where there
// is none a branch. Its methods may be called from any goroutine, handlers included.
type Trace struct {
	r     *Reactor
	start time.Time
	rings []*traceRing
	stop  sync.Once
}

// Trace begins to record on all loops, and returns when they do: it waits for loops that are busy a second at most, and
// called on a loop it waits for none. Before Serve it records from its beginning on. Eight traces at most record at a
// time. It returns net.ErrClosed when the reactor has ended.
func (r *Reactor) Trace(o TraceOptions) (*Trace, error) {
	if o.Events < 0 || o.Events > maxTraceEvents {
		return nil, fmt.Errorf("reactor: Events is %d, must be 0 to %d", o.Events, maxTraceEvents)
	}
	if o.Burst < 0 || o.Burst > maxTraceEvents {
		return nil, fmt.Errorf("reactor: Burst is %d, must be 0 to %d", o.Burst, maxTraceEvents)
	}
	if r.traces.Add(1) > maxTraces {
		r.traces.Add(-1)
		return nil, fmt.Errorf("reactor: %d traces record already", maxTraces)
	}
	t := &Trace{r: r, start: time.Now()}
	zero := stopwatch()
	for range r.loops {
		t.rings = append(t.rings, &traceRing{
			zero: zero, filter: o.Filter, limit: cmp.Or(o.Events, DefaultTraceEvents), burst: o.Burst, left: o.Burst,
		})
	}
	if !r.onEachLoop(func(l *loop) { l.record(t.rings[l.index]) }) {
		t.Stop()
		return nil, net.ErrClosed
	}
	return t, nil
}

// Start returns the moment from which events count their time.
func (t *Trace) Start() time.Time { return t.start }

// Loops returns how many loops the trace is of.
func (t *Trace) Loops() int { return len(t.rings) }

// Stop ends the recording. What was recorded can still be read. Stopping twice is stopping once.
func (t *Trace) Stop() {
	t.stop.Do(func() {
		for _, g := range t.rings {
			g.mu.Lock()
			g.limit = 0
			g.mu.Unlock()
		}
		t.r.onEachLoop(func(l *loop) { l.forget(t.rings[l.index]) })
		t.r.traces.Add(-1)
	})
}

// Refill allows each loop another Burst of events. A loop that had used its own up records again as soon as it can, which
// Refill does not wait for, and tells the time between as a TraceGap.
func (t *Trace) Refill() {
	for i, g := range t.rings {
		if l := t.r.loops[i]; g.refill() {
			_ = l.postLoop(func() { l.resume(g) }) // or the loop has ended
		}
	}
}

// Events returns all that is kept, by time, a span before what lies within it, and how many older ones are lost.
func (t *Trace) Events() (events []TraceEvent, lost uint64) { return t.Reader().Next() }

// Reader returns a reader that begins with the oldest event that is kept.
func (t *Trace) Reader() *TraceReader {
	rd := &TraceReader{t: t, next: make([]uint64, len(t.rings))}
	return rd
}

// A TraceReader reads a trace as a stream, for one goroutine at a time. Each reader reads everything.
type TraceReader struct {
	t    *Trace
	next []uint64 // of each loop the first event not yet read
}

// Next returns the events recorded since it was called last, at most as many as the trace keeps, in the order of
// Trace.Events; and how many of those since were overwritten before they could be read. A span appears when it has
// ended, so it may begin before events that were returned earlier. Next never waits.
func (rd *TraceReader) Next() (events []TraceEvent, lost uint64) {
	for i, g := range rd.t.rings {
		var missed uint64
		events, missed = g.read(events, &rd.next[i])
		lost += missed
	}
	slices.SortStableFunc(events, func(a, b TraceEvent) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(b.Duration, a.Duration))
	})
	return events, lost
}

// A traceRing is one loop's part of a trace. The loop writes; its lock is taken by readers for a few events at a time.
type traceRing struct {
	zero   int64 // what At counts from
	filter func(e *TraceEvent) bool

	mu     sync.Mutex
	events []TraceEvent // grows to limit, then event n is at n modulo limit
	limit  int          // 0 once stopped
	next   uint64       // number of the next event
	burst  int          // 0 for no bound
	left   int          // of burst
	spent  int64        // since when the loop records only what lasts, or not even that; 0 while it records all
	asked  bool         // the loop is to record all again
}

// readBatch is how many events are copied while the loop may have to wait.
const readBatch = 128

// add records e, unless it began before the trace. It returns false if that was the last of a burst, of all events or
// then of those that last.
func (g *traceRing) add(e *TraceEvent, at int64) bool {
	if e.At = time.Duration(at - g.zero); e.At < 0 || g.filter != nil && !g.filter(e) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == 0 {
		return true
	}
	g.put(e)
	if g.left--; g.burst == 0 || g.left > 0 {
		return true
	}
	if g.spent == 0 {
		g.spent, g.left = stopwatch(), g.burst
	}
	return false
}

func (g *traceRing) put(e *TraceEvent) {
	e.Seq = g.next
	if len(g.events) < g.limit {
		g.events = append(g.events, *e)
	} else {
		g.events[e.Seq%uint64(g.limit)] = *e
	}
	g.next++
}

// refill says whether the loop has to be asked to record again.
func (g *traceRing) refill() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = g.burst
	ask := g.spent != 0 && !g.asked && g.limit > 0
	g.asked = g.asked || ask
	return ask
}

// read appends the events from *from on to dst and moves it past them; lost is how many are gone.
func (g *traceRing) read(dst []TraceEvent, from *uint64) (_ []TraceEvent, lost uint64) {
	g.mu.Lock()
	end := g.next // what comes meanwhile is for the next time
	g.mu.Unlock()
	for *from < end {
		g.mu.Lock()
		size := uint64(len(g.events))
		if oldest := g.next - size; *from < oldest {
			lost += min(oldest, end) - *from
			*from = min(oldest, end)
		}
		for stop := min(*from+readBatch, end); *from < stop; *from++ {
			dst = append(dst, g.events[*from%size])
		}
		g.mu.Unlock()
	}
	return dst, lost
}

// mark returns the time if there is a trace, for span; otherwise 0. It, span and note are small enough to be inlined:
// without a trace they are a branch.
func (l *loop) mark() int64 {
	if l.rings == nil {
		return 0
	}
	return stopwatch()
}

// markLasting is mark for what lasts.
func (l *loop) markLasting() int64 {
	if l.rings == nil && l.lasting == nil {
		return 0
	}
	return stopwatch()
}

// span traces what began at the mark and ends now; c may be nil.
func (l *loop) span(kind TraceKind, c *Conn, mark int64, n, of int) {
	if mark != 0 {
		l.traceSpan(kind, c, n, of, mark)
	}
}

// note traces what concerns c.
func (c *Conn) note(kind TraceKind, n, of int) {
	if c.loop.rings != nil {
		c.loop.traceNow(kind, c, n, of)
	}
}

// noteLasting is note for what lasts.
func (c *Conn) noteLasting(kind TraceKind, n, of int) {
	if c.loop.rings != nil || c.loop.lasting != nil {
		c.loop.traceNow(kind, c, n, of)
	}
}

func (l *loop) traceNow(kind TraceKind, c *Conn, n, of int) { l.trace(kind, c, n, of, stopwatch(), 0) }

func (l *loop) traceSpan(kind TraceKind, c *Conn, n, of int, mark int64) {
	l.trace(kind, c, n, of, mark, max(stopwatch()-mark, 1))
}

func (l *loop) trace(kind TraceKind, c *Conn, n, of int, at, duration int64) {
	e := &l.tracing
	*e = TraceEvent{Loop: l.index, Kind: kind, N: n, Of: of, Duration: time.Duration(duration)}
	if c != nil {
		e.Conn, e.Tuple = c.id, c.tuple
	}
	for _, g := range slices.Backward(l.lasting) {
		if lasts(kind) && !g.add(e, at) {
			l.forget(g)
		}
	}
	for _, g := range slices.Backward(l.rings) {
		if !g.add(e, at) {
			l.forget(g)
			l.lasting = append(l.lasting, g)
		}
	}
}

// lasts says whether events of the kind are recorded beyond a burst: who does not see them has a wrong idea of a
// connection for long after.
func lasts(k TraceKind) bool {
	switch k {
	case TraceAccept, TraceRefuse, TraceStopped, TraceResumed, TraceEOF, TraceShut, TraceClose:
		return true
	}
	return false
}

// record has events go to g.
func (l *loop) record(g *traceRing) {
	l.rings = append(l.rings, g)
	l.observed = true
}

// resume has all events go to g again, and tells of the time in which they did not.
func (l *loop) resume(g *traceRing) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == 0 {
		return // stopped meanwhile
	}
	at, now := time.Duration(g.spent-g.zero), time.Duration(stopwatch()-g.zero)
	g.put(&TraceEvent{Loop: l.index, Kind: TraceGap, At: at, Duration: max(now-at, 1)})
	g.spent, g.asked = 0, false
	l.forget(g)
	l.record(g)
}

// forget has none go there any more.
func (l *loop) forget(g *traceRing) {
	l.rings, l.lasting = without(l.rings, g), without(l.lasting, g)
	l.observed = l.observes()
}

// without returns nil if nothing is left, for that is what is asked all the time.
func without(rings []*traceRing, g *traceRing) []*traceRing {
	if rings = slices.DeleteFunc(rings, func(r *traceRing) bool { return r == g }); len(rings) == 0 {
		return nil
	}
	return rings
}

// onEachLoop runs fn on each loop, as soon as it can, and waits for that as Trace says. It returns false if all loops
// have ended.
func (r *Reactor) onEachLoop(fn func(l *loop)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), statsPatience)
	defer cancel()
	r.mu.Lock()
	if !r.started {
		defer r.mu.Unlock()
		for _, l := range r.loops {
			fn(l) // there is no loop yet to disturb
		}
		return true
	}
	r.mu.Unlock()
	id := goroutineID()
	var running []<-chan struct{}
	alive := false
	for _, l := range r.loops {
		if l.goid.Load() == id {
			fn(l)
			alive = true
			cancel()
			continue
		}
		ran := make(chan struct{})
		if l.postLoop(func() { fn(l); close(ran) }) == nil {
			alive = true
			running = append(running, ran)
		}
	}
	for _, ran := range running {
		waited(ctx, ran)
	}
	return alive
}
