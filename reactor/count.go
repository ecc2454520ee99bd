// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Counting: plain integers of the loop, added to where things happen. What is counted while nobody asks costs an
// addition, and no clock is read for it; Stats has a task copy them.

// loopCounts are what a loop counts, in the terms of LoopStats.
type loopCounts struct {
	Counters
	closes              CloseCounts
	codecs              [maxCodecs]CodecStats
	unsent              int64
	timerLag, eventTime Histogram
}

// countRead counts a receiving call that returned n bytes, room being how many it could have, or errno.
func (c *Conn) countRead(n, room int, errno unix.Errno) {
	counts := &c.loop.counts
	counts.Reads++
	switch {
	case n > 0:
		counts.BytesReceived += uint64(n)
		if n < room {
			counts.ShortReads++
		}
		c.note(TraceRead, n, room)
	case errno == unix.EAGAIN:
		counts.ReadAgains++
		c.note(TraceReadAgain, 0, room)
	}
}

// countWrite counts a sending call that took n of the bytes offered, or failed with errno.
func (c *Conn) countWrite(n, offered int, errno unix.Errno) {
	counts := &c.loop.counts
	counts.Writes++
	switch {
	case n > 0:
		counts.BytesSent += uint64(n)
		if n < offered {
			counts.ShortWrites++
		}
		c.note(TraceWrite, n, offered)
	case errno == unix.EAGAIN:
		counts.WriteAgains++
		c.note(TraceWriteAgain, 0, offered)
	}
}

// stops counts a reason for which delivery stops.
func (c *Conn) stops(n *uint64, why StopReason) {
	*n++
	c.noteLasting(TraceStopped, int(why), c.Unsent())
}

// countClose counts what the handler's Close is about to get.
func (c *Conn) countClose(cause error, unsent int64) CloseReason {
	reason := closeReason(cause)
	c.loop.counts.closes[reason]++
	c.loop.counts.BytesUnsent += uint64(unsent)
	return reason
}

// Frames are counted by the type of their decoder, for there may be a decoder for each connection but not a type.
const maxCodecs = 16

var codecKinds struct {
	sync.Mutex
	types []reflect.Type
}

// codecKind returns the place of dec's type among those that the process has met, the last for all that came too late.
func codecKind(dec any) int {
	k := &codecKinds
	k.Lock()
	defer k.Unlock()
	t := reflect.TypeOf(dec)
	i := slices.Index(k.types, t)
	if i < 0 && len(k.types) < maxCodecs-1 {
		i, k.types = len(k.types), append(k.types, t)
	}
	return i & (maxCodecs - 1) // -1 becomes the last
}

func codecName(kind int) string {
	if kind == maxCodecs-1 {
		return "other"
	}
	codecKinds.Lock()
	defer codecKinds.Unlock()
	return strings.TrimPrefix(strings.TrimPrefix(fmt.Sprint(codecKinds.types[kind]), "*"), "codec.")
}

// failed counts an error of the decoder.
func (n *CodecStats) failed(err error) {
	switch frameFault(err) {
	case faultTooLong:
		n.TooLong++
	case faultMalformed:
		n.Malformed++
	default:
		n.Other++
	}
}

// acceptCounts are what a listening socket counts.
type acceptCounts struct {
	accepts, atMaxConns uint64
	errnos              map[unix.Errno]uint64
}

// count counts one call of accept(2).
func (n *acceptCounts) count(full bool, errno unix.Errno) {
	switch {
	case full:
		n.atMaxConns++
	case errno == 0:
		n.accepts++
	case errno != unix.EAGAIN:
		if n.errnos == nil {
			n.errnos = map[unix.Errno]uint64{}
		}
		n.errnos[errno]++
	}
}

func (n *acceptCounts) stats() ListenerStats {
	s := ListenerStats{Accepts: n.accepts, AtMaxConns: n.atMaxConns}
	for errno, count := range n.errnos {
		s.add(ListenerStats{Errors: map[string]uint64{cmp.Or(unix.ErrnoName(errno), errno.Error()): count}})
	}
	return s
}

// A listing is the listeners that Stats tells of.
type listing struct {
	mu        sync.Mutex
	listeners []*Listener
}

func (g *listing) add(lis *Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners = append(g.listeners, lis)
}

func (g *listing) remove(lis *Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners = slices.DeleteFunc(g.listeners, func(other *Listener) bool { return other == lis })
}

func (g *listing) all() []*Listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.listeners)
}

// A loopView is what a loop answers to Stats.
type loopView struct {
	LoopStats
	listeners map[*Listener]ListenerStats
}

// view takes the loop down. On the loop, or where there is none.
func (l *loop) view() loopView {
	n := &l.counts
	v := loopView{LoopStats: LoopStats{
		Time: time.Now(), Timers: len(l.deadlines.conns) + len(l.deadlines.timers), Unsent: n.unsent,
		Counters: n.Counters, Closes: n.closes, TimerLag: n.timerLag,
	}, listeners: map[*Listener]ListenerStats{}}
	if l.r.opts.Measure {
		v.TaskLag, v.EventTime = new(l.mailbox.lag), new(n.eventTime)
	}
	for kind, c := range n.codecs {
		if c != (CodecStats{}) {
			c.Codec = codecName(kind)
			v.Codecs = append(v.Codecs, c)
		}
	}
	for _, lis := range l.r.listening.all() {
		for i, s := range lis.sockets {
			if lis.loops[i] == l {
				v.listeners[lis] = socketStats(s)
			}
		}
	}
	return v
}

func socketStats(s source) ListenerStats {
	switch s := s.(type) {
	case *acceptor:
		return s.counts.stats()
	case *PacketConn:
		return ListenerStats{Datagrams: s.stats}
	case *adoptedPacket:
		return ListenerStats{Datagrams: s.stats}
	}
	return ListenerStats{}
}

// A question is one loop's part in Stats: at most one task at a time asks, for all who want to know.
type question struct {
	mu    sync.Mutex
	asked chan struct{} // closed with the answer; nil if nobody asks
	last  loopView      // the last answer
}

// ask returns a channel that is closed when there is an answer younger than the call.
func (l *loop) ask() <-chan struct{} {
	q := &l.question
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked == nil {
		asked := make(chan struct{})
		if l.postLoop(l.answer) != nil {
			return l.done // it is about to end, or has
		}
		q.asked = asked
	}
	return q.asked
}

// answer is a task.
func (l *loop) answer() {
	q := &l.question
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = l.view()
	close(q.asked)
	q.asked = nil
}

func (q *question) set(v loopView) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = v
}

// lastView returns the last answer; of a loop that has ended, the final one.
func (l *loop) lastView() loopView {
	l.question.mu.Lock()
	defer l.question.mu.Unlock()
	select {
	case <-l.done:
		l.question.last = l.view()
	default:
	}
	return l.question.last
}

// views asks all loops.
func (r *Reactor) views() (views []loopView) {
	r.mu.Lock()
	if !r.started {
		defer r.mu.Unlock()
		for _, l := range r.loops {
			views = append(views, l.view()) // there is no loop yet to disturb
		}
		return views
	}
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), statsPatience)
	defer cancel()
	id := goroutineID()
	answers := make([]<-chan struct{}, len(r.loops))
	for i, l := range r.loops {
		if l.goid.Load() == id {
			l.question.set(l.view())
			cancel()
		} else {
			answers[i] = l.ask()
		}
	}
	for i, l := range r.loops {
		stale := answers[i] != nil && !waited(ctx, answers[i])
		views = append(views, l.lastView())
		views[i].Stale = stale
	}
	return views
}

// waited waits until done is closed and says whether it was before ctx was done.
func waited(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done: // both: the answer counts
		return true
	default:
		return false
	}
}
