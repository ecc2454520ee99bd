// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "time"

// A clock tells a loop the time and wakes it. Each loop has one; tests put another in its place, which they turn by
// hand.
type clock interface {
	// now is monotonic, in nanoseconds, and never 0. Any goroutine may ask.
	now() int64

	// until is how far away t is, negative once it has passed.
	until(t time.Time) time.Duration

	// wakeAt has the loop's timeIsUp called at that moment, or at once if it has passed, instead of the one it was asked
	// for before.
	wakeAt(at int64)

	stop()
}

// started is the zero of the reactor's clock.
var started = time.Now()

// wallClock is the runtime's clock, with one of its timers.
type wallClock struct {
	timer    *time.Timer
	timeIsUp func()
}

func (*wallClock) now() int64 { return int64(time.Since(started)) + 1 }

func (*wallClock) until(t time.Time) time.Duration { return time.Until(t) }

func (w *wallClock) wakeAt(at int64) {
	wait := time.Duration(at - w.now())
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.timeIsUp)
	} else {
		w.timer.Reset(wait)
	}
}

func (w *wallClock) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// now is what the clocks say. Any goroutine.
func (r *Reactor) now() int64 { return r.loops[0].clock.now() }

// after returns the moment that is d away; at once if d is negative. Any goroutine.
func (l *loop) after(d time.Duration) int64 {
	return l.clock.now() + int64(min(max(d, 0), maxDuration))
}

// coarse rounds a deadline up so that those of one period share wake-ups: never early, late by at most a
// thirty-second of the period, or a millisecond if that is more.
func coarse(at int64, period time.Duration) int64 {
	step := max(int64(period)/32, int64(time.Millisecond))
	return (at + step - 1) / step * step
}
