// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 6, docs/course/06-time.md: a client that says nothing and one that drips, and servers with
// time-outs, three ways.
package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

const (
	timeout = 500 * time.Millisecond
	drip    = 50 * time.Millisecond
	dripped = 700 * time.Millisecond // how long a client drips that may stay
)

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	study.Row(w, "", "a silent client", "one that drips", "... for a whole line")
	rows := make([][]string, len(ways))
	var wg sync.WaitGroup
	for i, way := range ways {
		wg.Go(func() { rows[i] = append([]string{way}, row(way)...) })
	}
	wg.Wait()
	for _, row := range rows {
		study.Row(w, row...)
	}
}

func row(way string) (cells []string) {
	s := servers[way]
	server := s.quiet()
	cells = []string{silent(server.Addr), dripping(server.Addr, dripped)}
	server.Stop()
	if s.whole != nil {
		server = s.whole()
		cells = append(cells, dripping(server.Addr, time.Minute)) // that is, until the server closes
		server.Stop()
	}
	return cells
}

// silent waits for what a server does with a client that says nothing.
func silent(addr string) string {
	begin := time.Now()
	c := study.Dial(addr)
	defer c.Close()
	_, err := io.ReadAll(c)
	study.Check(err)
	if since := time.Since(begin); since < timeout {
		return fmt.Sprintf("closed early, after %v", since)
	}
	return "closed, not early"
}

// dripping sends a line, a byte at a time, much faster than the time-out and never done. A client that was itself held up
// by a busy machine has shown nothing: it begins again.
func dripping(addr string, d time.Duration) string {
	for {
		if closed, late := drips(addr, d); !closed {
			return "stays"
		} else if !late {
			return "closed meanwhile"
		}
	}
}

// drips tells whether the server has closed within d, and whether a byte was late.
func drips(addr string, d time.Duration) (closed, late bool) {
	c := study.Dial(addr)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.ReadAll(c)
	}()
	defer func() {
		c.Close()
		<-ended
	}()
	last := time.Now()
	for end := last.Add(d); time.Now().Before(end); {
		_, err := fmt.Fprint(c, "x")
		late = late || time.Since(last) > timeout/2
		last = time.Now()
		if err != nil {
			return true, late
		}
		select {
		case <-ended:
			return true, late || time.Since(last) > timeout/2
		case <-time.After(drip):
		}
	}
	return false, late
}
