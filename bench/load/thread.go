// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"runtime"
	"sync"
	"time"
)

// epoch is where the load's clock starts. Reading it costs one call of the monotonic clock.
var epoch = time.Now()

func clock() int64 { return int64(time.Since(epoch)) }

// The phases of a window, in order.
const (
	warming   = iota
	measuring // from Begin to End
	settling  // nothing is asked, what is due still comes
	counting  // from CountBegin
	draining  // to CountEnd; as settling
	over
)

// A thread is what the threads of every load have in common: a poller, the phase of the window, and a result of its own.
// Only its own goroutine uses it while a window runs.
type thread struct {
	index  int // 0 runs the functions of the window
	poller poller
	buf    []byte
	result *Result

	window *Window
	others *barrier // the other threads of the load
	again  func()   // starts to ask after a pause
	phase  int
	next   int64 // when the phase ends
	begun  int64 // Begin
	waited int64 // for the poller, while measuring
}

// What tests change: the poller, to have the other one, and Patience, to have less.
var (
	makePoller = newPoller
	patience   = Patience
)

func newThread(index int) (*thread, error) {
	p, err := makePoller()
	if err != nil {
		return nil, err
	}
	return &thread{index: index, poller: p, buf: make([]byte, readSize)}, nil
}

// inParallel runs f for every i below n, each on a system thread of its own.
func inParallel(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			f(i)
		})
	}
	all.Wait()
}

// open starts a window for one of the threads that meet at the barrier. again is called when the load, having paused,
// is to ask again.
func (t *thread) open(w *Window, others *barrier, again func()) {
	t.window, t.others, t.again = w, others, again
	t.result, t.phase, t.waited = newResult(), warming, 0
	t.next = clock() + int64(w.Warmup)
}

// advance moves through the phases that have ended. due counts the answers that are still to come.
func (t *thread) advance(due *int64) {
	for t.phase != over {
		if t.window.stopped() {
			t.phase = over
			t.others.leave()
			return
		}
		settled := (t.phase == settling || t.phase == draining) && *due == 0
		if !settled && clock() < t.next {
			return
		}
		t.step(*due == 0)
	}
}

// step enters the next phase. settled says that nothing is due.
func (t *thread) step(settled bool) {
	w := t.window
	t.phase++
	switch t.phase {
	case measuring:
		t.call(w.Begin)
		t.begun = clock()
		t.next = t.begun + int64(w.Duration)
	case settling:
		wall := clock() - t.begun
		t.result.Seconds = float64(wall) / 1e9
		if wall > 0 {
			t.result.Busy = 1 - float64(t.waited)/float64(wall)
		}
		t.call(w.End)
		t.next = clock() + int64(patience)
	case counting:
		all := t.others.meet(settled) // every thread has settled
		if w.Count == 0 || !all {
			t.phase = over
			return
		}
		t.call(w.CountBegin)
		t.others.meet(true) // and none asks before the counter runs
		t.next = clock() + int64(w.Count)
		t.again()
	case draining:
		t.next = clock() + int64(patience)
	case over:
		if t.others.meet(settled) {
			t.call(w.CountEnd)
		}
	}
}

func (t *thread) call(f func()) {
	if t.index == 0 && f != nil {
		f()
	}
}

// asking says whether new requests are to be sent.
func (t *thread) asking() bool {
	return t.phase == warming || t.phase == measuring || t.phase == counting
}

// wait waits for readiness until the phase ends, or until if that is earlier; after stopTime it is time to look at Stop.
func (t *thread) wait(until int64) []event {
	before := clock()
	events, err := t.poller.wait(min(time.Duration(max(min(until, t.next)-before, 0)), stopTime))
	if err != nil {
		t.result.Missing(1, "poller: %v", err)
		t.next = 0 // there is no point in going on
	}
	if t.phase == measuring {
		t.waited += clock() - before
	}
	return events
}

// answered records an answer that came now to a request of the time asked.
func (t *thread) answered(asked, now int64) {
	switch t.phase {
	case measuring:
		t.result.Messages++
		observe(t.result.Latency, now-asked)
	case settling: // too late for the rate, and the slowest of all
		observe(t.result.Latency, now-asked)
	case counting, draining:
		t.result.Counted++
	}
}

// A barrier is where the threads of a load wait for each other.
type barrier struct {
	mu      sync.Mutex
	all     sync.Cond
	threads int

	arrived int
	fine    bool // of those that have arrived
	result  bool // of those that met last
	meeting int
	left    bool // a thread comes no more
}

func newBarrier(threads int) *barrier {
	b := &barrier{threads: threads, fine: true}
	b.all.L = &b.mu
	return b
}

// meet waits until every thread is here, and says whether all said they were fine.
func (b *barrier) meet(fine bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left {
		return false
	}
	b.fine = b.fine && fine
	if b.arrived++; b.arrived == b.threads {
		b.result, b.fine, b.arrived = b.fine, true, 0
		b.meeting++
		b.all.Broadcast()
		return b.result
	}
	for meeting := b.meeting; meeting == b.meeting; {
		if b.left {
			return false
		}
		b.all.Wait()
	}
	return b.result
}

// leave ends this meeting and all others: nobody is fine any more.
func (b *barrier) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	b.all.Broadcast()
}

// times is a queue of the times of requests in flight.
type times struct {
	ring       []int64 // a power of two long
	head, tail int64   // counted since the start
}

func (q *times) push(at int64) {
	if int(q.tail-q.head) == len(q.ring) {
		bigger := make([]int64, max(4, 2*len(q.ring)))
		for i := q.head; i < q.tail; i++ {
			bigger[i&int64(len(bigger)-1)] = q.ring[i&int64(len(q.ring)-1)]
		}
		q.ring = bigger
	}
	q.ring[q.tail&int64(len(q.ring)-1)] = at
	q.tail++
}

func (q *times) pop() int64 {
	at := q.ring[q.head&int64(len(q.ring)-1)]
	q.head++
	return at
}

// at returns the i-th of the queue.
func (q *times) at(i int64) int64 { return q.ring[(q.head+i)&int64(len(q.ring)-1)] }

func (q *times) len() int64 { return q.tail - q.head }

// A schedule has the times of an open loop's requests: rate a second over all threads, evenly spaced.
type schedule struct {
	start   int64
	every   float64 // ns between two requests of this thread
	offset  float64
	request int64
}

func newSchedule(rate float64, thread, threads int) *schedule {
	if rate <= 0 {
		return nil
	}
	each := 1e9 / rate
	return &schedule{start: clock(), every: each * float64(threads), offset: each * float64(thread)}
}

func (s *schedule) next() int64 {
	return s.start + int64(s.offset+s.every*float64(s.request))
}
