// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package inspect_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/inspect"
)

func ExampleHandler() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	w := httptest.NewRecorder()
	inspect.Handler(r).ServeHTTP(w, httptest.NewRequest("GET", "/debug/quartet", nil))
	_, loops, _ := strings.Cut(w.Body.String(), `"loops":`)
	fmt.Println(loops[:30])
	// Output: [{"loop":0,"stale":false,"time
}
