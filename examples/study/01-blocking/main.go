// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 1, docs/course/01-blocking.md: a server that greets, three ways, and a client that says nothing.
package main

import (
	"fmt"
	"io"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// A server serves so many clients and then ends, which wait waits for.
type server func(clients int) (addr string, wait func())

var servers = map[string]server{
	study.ALoop:      loop,
	study.Goroutines: goroutines,
	study.TheReactor: react,
}

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	study.Row(w, "", "Ben, Anna still silent", "Ben, once she has spoken")
	for _, way := range ways {
		addr, wait := servers[way](2)

		anna := study.Dial(addr)
		ben := study.Dial(addr)
		fmt.Fprint(ben, "ben")
		before := study.AnswerDuring(way, ben)

		fmt.Fprint(anna, "anna")
		study.Answer(anna)
		after := ""
		if before == "no answer yet" {
			after = study.Answer(ben)
		}
		study.Row(w, way, before, after)

		anna.Close()
		ben.Close()
		wait()
	}
}
