// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Exercise 1: the time that p percent do not exceed: of n sorted samples number ceil(n*p/100), counted from 1.
func percentile(times []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

func Example_percentile() {
	times := slices.Repeat([]time.Duration{time.Millisecond}, 98)
	times = append(times, time.Second, 2*time.Second)
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	fmt.Println("mean", sum/time.Duration(len(times)))
	for _, p := range []int{50, 98, 99, 100} {
		fmt.Println(p, percentile(times, p))
	}
	// Output:
	// mean 30.98ms
	// 50 1ms
	// 98 1ms
	// 99 1s
	// 100 2s
}

// Exercise 2: while one answer took so long, others were due, one for each interval, and each would have waited an
// interval less.
func corrected(times []time.Duration, interval time.Duration) (all []time.Duration) {
	for _, t := range times {
		for ; t > 0; t -= interval {
			all = append(all, t)
		}
	}
	return all
}

func Example_corrected() {
	fmt.Println(corrected([]time.Duration{time.Millisecond, 40 * time.Millisecond}, 10*time.Millisecond))
	// Output: [1ms 40ms 30ms 20ms 10ms]
}

// Exercise 3: from the schedule, everybody who was due in the first half of the standstill was slow:
// (stall-slow)/interval and the one that caused it. A busy machine can make more of them slow, never fewer.
func TestWhoWasSlow(t *testing.T) {
	closed, open := stalled()
	require.GreaterOrEqual(t, count(closed), 1)
	require.GreaterOrEqual(t, count(open), int((stall-slow)/interval))
	for i := range open {
		require.GreaterOrEqual(t, open[i], closed[i], "nobody asks before it is time")
	}
}
