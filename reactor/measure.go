// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
)

// observes says whether events have to be timed, for Measure, SlowHandler or a trace.
func (l *loop) observes() bool {
	return l.r.opts.Measure || l.r.opts.SlowHandler > 0 || len(l.rings) > 0
}

// stopwatch is the time that work takes, in nanoseconds since the process started and never 0. It is not the loop's
// clock, which a test may turn by hand.
func stopwatch() int64 { return int64(time.Since(started)) + 1 }

// A timedEvent is what dispatchTimed knows of the event that the loop is at.
type timedEvent struct {
	began int64 // 0 if there is none
	kind  TraceKind
	conn  *Conn
	hints int
}

// dispatchTimed is dispatch with the time taken.
func (l *loop) dispatchTimed(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
	e := timedEvent{conn: l.registry.at(fd), kind: TraceSource}
	switch {
	case e.conn != nil:
		e.kind = TraceReady
		for i, hint := range []bool{netpoll.IsReadEvent(ev), netpoll.IsWriteEvent(ev), netpoll.IsErrorEvent(ev, flags)} {
			if hint {
				e.hints |= 1 << i
			}
		}
	case fd == l.waker.fd:
		e.kind = TraceTurn
	}
	e.began = stopwatch()
	l.timed = e
	l.watchdog.begin(e.began)
	err := l.react(fd, ev, flags)
	l.finishTimed()
	return err
}

// finishTimed ends what dispatchTimed began, also if a handler has ended the goroutine.
func (l *loop) finishTimed() {
	e := l.timed
	if e.began == 0 {
		return
	}
	l.timed = timedEvent{}
	took := stopwatch() - e.began
	if l.r.opts.Measure {
		l.counts.eventTime.add(took)
	}
	if len(l.rings) > 0 {
		l.trace(e.kind, e.conn, e.hints, 0, e.began, max(took, 1))
	}
	l.watchdog.end(l, e, took)
}

// A watchdog looks after one loop: it reports an event that has held the loop for longer than SlowHandler. Its timer
// rings only while events come: the first arms it, and it stays armed until it has found the loop idle.
type watchdog struct {
	limit int64 // 0 for none
	timer *time.Timer
	armed atomic.Bool
	since atomic.Int64 // when the loop's event began, 0 while there is none
	told  atomic.Int64 // since of the event that was reported last
}

// prepare is for a loop that does not run yet.
func (w *watchdog) prepare(l *loop) {
	if w.limit = int64(l.r.opts.SlowHandler); w.limit > 0 {
		w.timer = time.AfterFunc(maxDuration, func() { w.look(l) })
		w.timer.Stop()
	}
}

func (w *watchdog) begin(at int64) {
	if w.limit == 0 {
		return
	}
	w.since.Store(at)
	if !w.armed.Load() && !w.armed.Swap(true) {
		w.timer.Reset(time.Duration(w.limit))
	}
}

// look is what the timer is for.
func (w *watchdog) look(l *loop) {
	since := w.since.Load()
	if since == 0 {
		w.armed.Store(false)
		if since = w.since.Load(); since == 0 || w.armed.Swap(true) {
			return // the next event arms it, or just has
		}
	}
	held := stopwatch() - since
	if held < w.limit {
		w.timer.Reset(time.Duration(w.limit - held))
		return
	}
	if due := l.r.stacksDue.Load(); w.told.Load() != since && due <= stopwatch() && l.r.stacksDue.CompareAndSwap(due, math.MaxInt64) {
		w.told.Store(since)
		began := stopwatch()
		stack := goroutineStack(l.goid.Load())
		now := stopwatch()
		l.r.stacksDue.Store(now + stackPause*(now-began))
		if w.since.Load() == since { // otherwise the stack may be that of another event
			l.r.opts.Logger.Warn("reactor: a handler holds its loop", "loop", l.index, "for", time.Duration(held), "stack", stack)
		}
	}
	w.timer.Reset(time.Duration(w.limit))
}

func (w *watchdog) end(l *loop, e timedEvent, took int64) {
	if w.limit == 0 {
		return
	}
	w.since.Store(0)
	if took < w.limit {
		return
	}
	l.counts.SlowHandlers++
	about := []any{"loop", l.index, "event", e.kind.String(), "for", time.Duration(took), "limit", time.Duration(w.limit)}
	if e.conn != nil {
		about = append(about, "conn", e.conn.tuple.String(), "id", e.conn.id)
	}
	l.r.opts.Logger.Warn("reactor: a handler held its loop", about...)
}

// stop is for a loop that has ended.
func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// stackPause is how many times as long as a stack took no other is taken, for any loop of the reactor. Otherwise loops
// that are slow because the machine is would be made slower by being looked at, and so on.
const stackPause = 10

// maxStacks bounds the memory for the stacks of all goroutines, among which one is looked for.
const maxStacks = 16 << 20

// goroutineStack returns the stack of another goroutine, which Go has no call for: it stops them all and writes theirs
// too.
func goroutineStack(id uint64) string {
	for size := 64 << 10; ; size *= 4 {
		all := make([]byte, size)
		all = all[:runtime.Stack(all, true)]
		_, stack, found := bytes.Cut(append([]byte("\n\n"), all...), fmt.Appendf(nil, "\n\ngoroutine %d [", id))
		stack, _, whole := bytes.Cut(stack, []byte("\n\n"))
		switch {
		case found && (whole || len(all) < size || size >= maxStacks):
			return fmt.Sprintf("goroutine %d [%s", id, stack)
		case len(all) < size || size >= maxStacks:
			return fmt.Sprintf("goroutine %d is not among the first %d bytes of stacks", id, len(all))
		}
	}
}
