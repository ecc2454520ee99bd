// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 8, docs/course/08-threads.md: a server that counts for all its clients and tells them news from
// elsewhere, three ways.
package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

const clients, hits = 4, 500

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	study.Row(w, "", "4 clients, 500 hits", "news from elsewhere")
	for _, way := range ways {
		s := servers[way]()
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() { hit(s.Addr) })
		}
		wg.Wait()
		s.Stop()
		row := []string{way, fmt.Sprint(s.hits())}
		if s.tell == nil {
			row = append(row, "it is blocked in recv")
		} else {
			row = append(row, listen(way))
		}
		study.Row(w, row...)
	}
}

// hit sends lines and waits until each is counted.
func hit(addr string) {
	c := study.Dial(addr)
	defer c.Close()
	in := bufio.NewReader(c)
	for range hits {
		fmt.Fprintln(c, "hit")
		study.Must(in.ReadString('\n'))
	}
}

// listen hears what another goroutine of the server has to say, while the client itself says nothing.
func listen(way string) string {
	s := servers[way]()
	defer s.Stop()
	c := study.Dial(s.Addr)
	defer c.Close()
	fmt.Fprintln(c, "hit")
	in := bufio.NewReader(c)
	study.Must(in.ReadString('\n')) // the server knows the client now
	s.tell("news\n")
	return strings.TrimSpace(study.Must(in.ReadString('\n')))
}
