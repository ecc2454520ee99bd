// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package load

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/quartet-go/quartet/bench/record"
)

// A Window is the times of one measurement, one after the other.
//
//	start      Begin                       End           CountBegin      CountEnd
//	  | Warmup   |         Duration         | answers due |    Count, due   |
//
// Nothing is asked in the stretches of answers that are due, which last as long as there are some, at most Patience. So
// exactly the messages counted after CountBegin were handled by the server between it and CountEnd. Without a Count the
// window ends with the first of these stretches. The functions run on a thread of the load at these moments; any may be
// nil. When Stop is closed the window is over at once, and what it has seen so far is no measurement.
type Window struct {
	Warmup, Duration, Count          time.Duration
	Begin, End, CountBegin, CountEnd func()
	Stop                             <-chan struct{} // nil for never
}

// stopTime bounds how long a window takes to be over after Stop.
const stopTime = 50 * time.Millisecond

func (w *Window) stopped() bool {
	select {
	case <-w.Stop:
		return true
	default:
		return false
	}
}

// Patience is how long the load waits for answers after the last request.
const Patience = 10 * time.Second

// A Result is what a load saw.
type Result struct {
	Messages   int64   // answered between Begin and End
	Counted    int64   // asked and answered between CountBegin and CountEnd
	Seconds    float64 // between Begin and End
	Errors     int64   // answers missing
	Mismatches int64   // answers wrong
	Latency    *hdrhistogram.Histogram
	Late       *hdrhistogram.Histogram // how long after its time a request of an open loop was handed to the socket
	Busy       float64                 // share of Seconds in which the busiest thread did not wait
	Failures   []string                // the first few in words
}

// What histograms hold, in ns: 3 significant digits up to 100 s.
const (
	histogramMax    = int64(100 * time.Second)
	histogramDigits = 3
	failuresKept    = 5
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, histogramMax, histogramDigits)
}

func observe(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1), histogramMax)) // in range, so it cannot fail
}

func newResult() *Result { return &Result{Latency: newHistogram(), Late: newHistogram()} }

func (r *Result) add(o *Result) {
	r.Messages += o.Messages
	r.Counted += o.Counted
	r.Seconds = max(r.Seconds, o.Seconds)
	r.Errors += o.Errors
	r.Mismatches += o.Mismatches
	r.Latency.Merge(o.Latency)
	r.Late.Merge(o.Late)
	r.Busy = max(r.Busy, o.Busy)
	r.Failures = append(r.Failures, o.Failures...)
	r.Failures = r.Failures[:min(len(r.Failures), failuresKept)]
}

// Missing counts answers that will not come, and says why.
func (r *Result) Missing(n int64, format string, args ...any) {
	r.Errors += n
	r.fail(format, args...)
}

// Wrong counts answers that are not what was expected, and says what is wrong.
func (r *Result) Wrong(n int64, format string, args ...any) {
	r.Mismatches += n
	r.fail(format, args...)
}

func (r *Result) fail(format string, args ...any) {
	if len(r.Failures) < failuresKept {
		r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
	}
}

// Percentiles returns the latency of r. A percentile needs at least ten messages beyond it.
func (r *Result) Percentiles() (l record.Latency) {
	h := r.Latency
	n := float64(h.TotalCount())
	at := func(percent float64) *int64 {
		if n == 0 || n*(100-percent)/100 < 10 && percent > 50 {
			return nil
		}
		v := h.ValueAtQuantile(percent)
		return &v
	}
	l.P50, l.P90, l.P99, l.P999 = at(50), at(90), at(99), at(99.9)
	if n > 0 {
		v := h.Max()
		l.Max = &v
	}
	return l
}

// Spectrum returns the latency distribution at percentiles that come closer together towards 100.
func (r *Result) Spectrum() (s []record.Percentile) {
	n := float64(r.Latency.TotalCount())
	if n == 0 {
		return nil
	}
	percents := []float64{0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 98}
	for beyond := 0.01; beyond*n >= 1; beyond /= math.Sqrt(10) {
		percents = append(percents, 100*(1-beyond))
	}
	for _, p := range append(percents, 100) {
		s = append(s, record.Percentile{Percent: math.Round(p*1e6) / 1e6, NS: r.Latency.ValueAtQuantile(p)})
	}
	s[0].NS = r.Latency.Min() // to the histogram, 0 % of the latencies take no time
	return s
}
