// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bufio"
	"context"
	"fmt"
	"sync"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
)

// Exercise 1: Ref.Do takes a question to the loop that owns the answer.
func Example_do() {
	var refs = make(chan reactor.Ref, 1)
	total := 0
	server := study.React(func(c *reactor.Conn) (reactor.Handler, error) {
		refs <- c.Ref()
		return reactor.Frames(lines, reactor.FrameFunc(func(c *reactor.Conn, _ []byte) error {
			total++
			return c.Send(lines, []byte("counted"))
		})), nil
	}, nil)
	defer server.Stop()
	c := study.Dial(server.Addr)
	defer c.Close()
	fmt.Fprintln(c, "hit")
	study.Must(bufio.NewReader(c).ReadString('\n'))

	answer := make(chan int)
	study.Check((<-refs).Do(func(*reactor.Conn, error) { go func(n int) { answer <- n }(total) }))
	fmt.Println(<-answer)
	// Output: 1
}

// Exercise 2: a handler that blocks stops everybody on its loop; package offload blocks elsewhere.
func Example_offload() {
	release := make(chan struct{})
	pool := study.Must(offload.New(offload.Options{}))
	service := offload.Frames(pool, lines, lines, offload.FrameFunc(
		func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			if string(line) == "slow" {
				<-release
			}
			return line, nil
		}))
	server := study.React(func(*reactor.Conn) (reactor.Handler, error) { return service, nil }, nil)
	defer func() {
		server.Stop()
		study.Check(pool.Close(context.Background()))
	}()

	slow, quick := study.Dial(server.Addr), study.Dial(server.Addr)
	defer slow.Close()
	defer quick.Close()
	fmt.Fprintln(slow, "slow")
	fmt.Fprintln(quick, "quick")
	fmt.Print(study.Must(bufio.NewReader(quick).ReadString('\n')))
	close(release)
	fmt.Print(study.Must(bufio.NewReader(slow).ReadString('\n')))
	// Output:
	// quick
	// slow
}

// Exercise 3: with a total for each loop there is still nothing to lock. The sum is added up when the loops have ended;
// while they run, whoever wants it asks each of them, as in exercise 1.
func Example_perLoop() {
	r := study.Must(reactor.New(reactor.Options{Loops: clients}))
	totals := make([]int, clients) // totals[i] is loop i's
	count := reactor.Frames(lines, reactor.FrameFunc(func(c *reactor.Conn, _ []byte) error {
		totals[c.Ref().Loop()]++
		return c.Send(lines, []byte("counted"))
	}))
	lis := study.Must(r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return count, nil }, nil))
	stop := study.Serve(r)

	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() { hit(lis.Addr().String()) })
	}
	wg.Wait()
	stop()
	sum := 0
	for _, n := range totals {
		sum += n
	}
	fmt.Println(sum)
	// Output: 2000
}
