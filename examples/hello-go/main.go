// Command hello greets whom the event names.
package main

import (
	"context"
	"log"
)

type event struct {
	Name string `json:"name"`
}

type greeting struct {
	Message  string `json:"message"`
	Language string `json:"language"`
}

func handle(_ context.Context, e event) (greeting, error) {
	if e.Name == "" {
		e.Name = "world"
	}
	log.Printf("greeting %s", e.Name)
	return greeting{Message: "Hello, " + e.Name + "!", Language: "go"}, nil
}

func main() {
	log.SetFlags(0)
	log.Fatal(serve(handle))
}
