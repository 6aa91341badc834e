"""What does loading a medium cost, beside the library that decodes it? Times are a file."""

from pair import Row, main

FEW = 20  # files a round

ROWS = [
    *(
        Row(name=name, task=f"image_{kind}", peer=f"pillow_{kind}", side="pillow", n=FEW, within=1.1)
        for name, kind in (
            ("image: JPEG, 640 x 480", "jpeg"),
            ("image: JPEG, 12 megapixels", "photo"),
            ("image: JPEG to 224 x 224", "scaled"),
            ("image: PNG, 640 x 480", "png"),
            ("image: WebP, 640 x 480", "webp"),
            ("image: GIF of 20 frames", "gif"),
        )
    ),
    Row(name="image: JPEG, 64 x 64", task="image_thumbnail", peer="pillow_thumbnail", side="pillow", n=FEW),
    Row(name="image features, 640 x 480", task="image_features", peer="skimage_hog", side="skimage", n=FEW),
    *(
        Row(
            name=name,
            task=f"audio_{kind}",
            peer=f"soundfile_{kind}",
            side="soundfile",
            n=FEW // 4,
            within=1.1,
        )
        for name, kind in (
            ("sound: WAV, a minute of stereo", "wav"),
            ("sound: FLAC, a minute of stereo", "flac"),
            ("sound: Vorbis, a minute of stereo", "ogg"),
            ("sound: MP3, a minute of stereo", "mp3"),
        )
    ),
    *(
        Row(name=name, task=f"video_{kind}", peer=f"av_{kind}", side="PyAV", n=FEW // 10, within=1.1)
        for name, kind in (
            ("film: H.264, 150 frames of 640 x 360", "all"),
            ("film: frame by frame", "frames"),
            ("film: key frames only", "keys"),
        )
    ),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
