// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange

import (
	"fmt"
	"time"
)

// The defaults and bounds of Backoff.
const (
	DefaultFirst = 100 * time.Millisecond
	DefaultLimit = 2 * time.Second

	maxJitter = 0.5
)

// A Backoff says how long each try waits for the reply: First, then twice as long each time, as long as that does not
// pass Limit. The zero value waits 0.1, 0.2, 0.4, 0.8 and 1.6 seconds, five tries in 3.1 seconds. As a Duration has 63
// bits there are never more than 63 tries.
type Backoff struct {
	First time.Duration // 0 means 100 ms
	Limit time.Duration // at least First; 0 means 2 s

	// Jitter is the part of each wait, 0 to 0.5, that chance may take away, so that clients which lost their server at
	// the same moment do not all come back at the same moment. It never makes a wait longer.
	Jitter float64
}

// Wait returns how long a try waits, the first being number 0, and false if there is no such try. Where in the range
// that Jitter leaves is for r to say, 0 to 1: 0 is the whole wait.
func (b Backoff) Wait(try int, r float64) (time.Duration, bool) {
	b, err := b.resolve()
	if err != nil || try < 0 {
		return 0, false
	}
	wait := b.First
	for range try {
		if wait > b.Limit-wait {
			return 0, false
		}
		wait *= 2
	}
	return wait - time.Duration(b.Jitter*r*float64(wait)), true
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (b Backoff) resolve() (Backoff, error) {
	if b.First < 0 || b.Limit < 0 {
		return b, fmt.Errorf("exchange: First is %v and Limit %v, must not be negative", b.First, b.Limit)
	}
	if b.First == 0 {
		b.First = DefaultFirst
	}
	if b.Limit == 0 {
		b.Limit = DefaultLimit
	}
	if b.First > b.Limit {
		return b, fmt.Errorf("exchange: First is %v, must not exceed Limit %v", b.First, b.Limit)
	}
	if !(b.Jitter >= 0 && b.Jitter <= maxJitter) { // NaN is neither
		return b, fmt.Errorf("exchange: Jitter is %v, must be 0 to %v", b.Jitter, maxJitter)
	}
	return b, nil
}
