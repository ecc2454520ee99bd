// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"sync"
	"time"
)

// A Clock is a virtual time for the loops of one reactor. It stands still but in Advance.
type Clock struct {
	r *Reactor

	mu     sync.Mutex
	time   int64
	alarms []*alarm
	rings  int
	asked  int
}

// An alarm is the clock of one loop.
type alarm struct {
	*Clock
	loop *loop
	at   int64 // 0 for none
}

// virtualEpoch is where virtual time begins. It has no monotonic reading.
var virtualEpoch = time.Date(2038, 1, 19, 3, 14, 7, 0, time.UTC)

// UseClock gives r, which must not serve yet, a virtual time.
func UseClock(r *Reactor) *Clock {
	k := &Clock{r: r, time: 1}
	for _, l := range r.loops {
		a := &alarm{Clock: k, loop: l}
		k.alarms = append(k.alarms, a)
		l.clock = a
	}
	return k
}

// Now is the virtual time.
func (k *Clock) Now() time.Time { return virtualEpoch.Add(time.Duration(k.now())) }

// Rings is how often a loop was woken because its time had come.
func (k *Clock) Rings() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rings
}

// Asked is how often the time was asked for by the loops.
func (k *Clock) Asked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

// Advance lets d pass. It stops at each alarm on the way, until the loops have done what is due.
func (k *Clock) Advance(d time.Duration) {
	k.Settle()
	end := k.now() + int64(d)
	for k.ring(end) {
		k.Settle()
	}
}

// Skip lets d pass in one go and does not wait for the loops, which may be busy.
func (k *Clock) Skip(d time.Duration) {
	end := k.now() + int64(d)
	for k.ring(end) {
	}
}

// Settle waits until the loops have done what is due now.
func (k *Clock) Settle() {
	for range 2 { // the first task may find its turn past the timers
		for _, l := range k.r.loops {
			done := make(chan struct{})
			if l.postLoop(func() { close(done) }) == nil {
				<-done
			}
		}
	}
}

// ring moves on to the next alarm and rings it, or to the end if there is none.
func (k *Clock) ring(end int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	var next *alarm
	for _, a := range k.alarms {
		if a.at != 0 && a.at <= end && (next == nil || a.at < next.at) {
			next = a
		}
	}
	if next == nil {
		k.time = end
		return false
	}
	k.time = next.at
	next.ringNow()
	return true
}

func (a *alarm) ringNow() {
	a.at = 0
	a.rings++
	a.loop.timeIsUp()
}

func (k *Clock) now() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.time
}

func (a *alarm) now() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return a.time
}

func (k *Clock) until(t time.Time) time.Duration { return t.Sub(k.Now()) }

func (a *alarm) wakeAt(at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at = at; at <= a.time {
		a.ringNow()
	}
}

func (a *alarm) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = 0
}
