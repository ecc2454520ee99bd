// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 9, docs/course/09-measuring.md: an echo measured in rounds, three ways, and a server that stands
// still once, measured two ways.
package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

const (
	rounds, echoes = 5, 400

	interval = 5 * time.Millisecond // between the moments at which somebody wants to ask
	asked    = 100
	stall    = 200 * time.Millisecond
	slow     = 100 * time.Millisecond // what we call slow
)

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	times := make(map[string][]time.Duration)
	for range rounds {
		for _, way := range ways { // interleaved: what disturbs a round disturbs all of them
			times[way] = append(times[way], echo(way))
		}
	}
	study.Row(w, "an echo of 64 bytes", "median of 5 rounds", "least and most")
	for _, way := range ways {
		slices.Sort(times[way])
		t := times[way]
		study.Row(w, way, us(t[rounds/2]), us(t[0])+" to "+us(t[rounds-1]))
	}

	closed, open := stalled()
	fmt.Fprintf(w, "\n%d questions, of which one stops the server for %v\n", asked, stall)
	study.Row(w, "time since the question", fmt.Sprintf("slow: %d", count(closed)))
	study.Row(w, "time since the schedule", fmt.Sprintf("slow: %d", count(open)))
}

func us(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d.Nanoseconds())/1000) }

// echo returns what one echo takes, of many one after the other.
func echo(way string) time.Duration {
	server := servers[way]()
	defer server.Stop()
	c := study.Dial(server.Addr)
	defer c.Close()
	exchange(c) // the first is different: it is not measured
	begin := time.Now()
	for range echoes {
		exchange(c)
	}
	return time.Since(begin) / echoes
}

func exchange(c net.Conn) {
	question := strings.Repeat("q", 64)
	study.Must(io.WriteString(c, question))
	answer := make([]byte, len(question))
	study.Must(io.ReadFull(c, answer))
	if string(answer) != question { // a wrong answer is not a fast one
		panic("a wrong answer")
	}
}

// stalled asks on a schedule, one question after the other's answer, and measures from both moments.
func stalled() (closed, open []time.Duration) {
	server := stalling()
	defer server.Stop()
	c := study.Dial(server.Addr)
	defer c.Close()
	begin := time.Now()
	for i := range asked {
		due := begin.Add(time.Duration(i) * interval)
		time.Sleep(time.Until(due)) // not at all if the answer before came late
		sent := time.Now()
		exchange(c)
		closed = append(closed, time.Since(sent))
		open = append(open, time.Since(due))
	}
	return closed, open
}

func count(times []time.Duration) (n int) {
	for _, t := range times {
		if t >= slow {
			n++
		}
	}
	return n
}
