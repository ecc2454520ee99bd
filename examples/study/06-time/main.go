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
	dripped = 1200 * time.Millisecond // how long a client drips before it ends its line
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
	cells = []string{silent(server.Addr), dripping(server.Addr)}
	server.Stop()
	if s.whole != nil {
		server = s.whole()
		cells = append(cells, dripping(server.Addr))
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

// dripping sends a line, a byte at a time, much faster than the time-out and never done.
func dripping(addr string) string {
	c := study.Dial(addr)
	defer c.Close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.ReadAll(c)
	}()
	for end := time.Now().Add(dripped); time.Now().Before(end); {
		if _, err := fmt.Fprint(c, "x"); err != nil {
			break
		}
		select {
		case <-closed:
			return "closed meanwhile"
		case <-time.After(drip):
		}
	}
	c.Close()
	<-closed
	return "stays"
}
