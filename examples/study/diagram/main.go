// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Diagram draws the pictures of the course: FILE.txt becomes FILE.svg beside it.
//
//	go run ./examples/study/diagram docs/course/diagrams/*.txt
//
// The first line of a text is "sequence TITLE", "states TITLE" or "rows TITLE"; the file of each kind says what follows.
// A line that begins with # is a comment.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	for _, name := range os.Args[1:] {
		if err := draw(name); err != nil {
			fmt.Fprintf(os.Stderr, "diagram: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

func draw(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	svg, err := Render(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(name, ".txt")+".svg", svg, 0o644)
}

// Render returns the SVG of a text.
func Render(text string) ([]byte, error) {
	head, body, _ := strings.Cut(text, "\n")
	kind, title, _ := strings.Cut(head, " ")
	var lines []string
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	c := &canvas{title: title}
	var err error
	switch kind {
	case "sequence":
		err = sequence(c, lines)
	case "states":
		err = states(c, lines)
	case "rows":
		err = rows(c, lines)
	default:
		err = fmt.Errorf("kind %q: it is sequence, states or rows", kind)
	}
	return c.svg(), err
}
