// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package trace

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// Story writes a line for each of events, in the order of reactor.Trace.Events: when it was, on which loop, in which
// connection, what, and how long it took. What happened inside a span is indented below it.
//
//	0.001042  loop 0   reported readable, 31µs  [127.0.0.1:1060<-127.0.0.1:40312 16777223]
//	0.001049  loop 0     read 5 bytes, with room for 65536  [127.0.0.1:1060<-127.0.0.1:40312 16777223]
func Story(w io.Writer, events []reactor.TraceEvent) error {
	out := bufio.NewWriter(w)
	inside := map[int][]time.Duration{} // of each loop, when the spans around end
	for i := range events {
		e := &events[i]
		ends := slices.DeleteFunc(inside[e.Loop], func(end time.Duration) bool { return end <= e.At })
		who := ""
		if e.Conn != 0 {
			who = fmt.Sprintf("  [%s %d]", e.Tuple, e.Conn)
		}
		took := ""
		if e.Duration > 0 {
			took = fmt.Sprintf(", %v", e.Duration)
		}
		_, _ = fmt.Fprintf(out, "%12.6f  loop %-3d %*s%s%s%s\n", e.At.Seconds(), e.Loop, 2*len(ends), "", e, took, who)
		if e.Duration > 0 {
			ends = append(ends, e.At+e.Duration)
		}
		inside[e.Loop] = ends
	}
	return out.Flush()
}
